/** The numbers of a list as the kernel writes it, `'0-2,4'`. */
export function parseNumberList(list: string): ReadonlySet<number> {
  const numbers = new Set<number>();
  for (const range of list.trim().split(',').filter(Boolean)) {
    const [from = 0, to = from] = range.split('-').map(Number);
    for (let number = from; number <= to; number++) numbers.add(number);
  }
  return numbers;
}

/** One that the kernel reads. */
export function formatNumberList(numbers: Iterable<number>): string {
  return [...numbers].join();
}
