/** Ids from `start` on. */
export interface IdInterval {
  /** The first id. */
  readonly start: number;
  /** How many. */
  readonly size: number;
}

/** The lowest interval of `size` ids within the pools that touches none of those taken; `undefined` when there is none. */
export function findFreeRange(
  pools: readonly IdInterval[],
  taken: readonly IdInterval[],
  size: number,
): IdInterval | undefined {
  const obstacles = [...taken].sort((a, b) => a.start - b.start);
  for (const pool of [...pools].sort((a, b) => a.start - b.start)) {
    let start = pool.start;
    for (const obstacle of obstacles) {
      if (obstacle.start >= start + size) break;
      start = Math.max(start, obstacle.start + obstacle.size);
    }
    if (start + size <= pool.start + pool.size) return { start, size };
  }
  return undefined;
}

/** What two intervals share; `undefined` when that is nothing. */
export function intersect(a: IdInterval, b: IdInterval): IdInterval | undefined {
  const start = Math.max(a.start, b.start);
  const end = Math.min(a.start + a.size, b.start + b.size);
  return end > start ? { start, size: end - start } : undefined;
}
