import { type Assembler, BPF, type Label } from './assembler.ts';

interface Range {
  readonly start: number;
  readonly label: Label;
  weight: number;
}

/** A space of words cut into ranges of equal treatment: from each start up to the next one its label decides. */
export class Ranges {
  readonly list: Range[] = [];

  /**
   * From `start` on `label` decides, until something else is said about a higher start. Starts come in ascending order; the
   * last word about the same one counts.
   *
   * @param weight - how often the range is asked for, relative to the others
   */
  from(start: number, label: Label, weight = 1): void {
    const { list } = this;
    if (list[list.length - 1]?.start === start) list.pop();
    const last = list[list.length - 1];
    if (last?.label === label) last.weight += weight;
    else list.push({ start, label, weight });
  }
}

/**
 * A binary search for the loaded word over `ranges`, which begin at the lowest possible value. Halves are of equal weight,
 * not of equal count, so that frequent values are found in fewer steps.
 */
export function search(assembler: Assembler, { list: ranges }: Ranges): Label {
  const sums = [0];
  for (const [index, { weight }] of ranges.entries()) sums.push(sums[index]! + weight);

  const between = (from: number, to: number): Label => {
    const [first, second, third] = [ranges[from]!, ranges[from + 1], ranges[from + 2]];
    if (to - from === 1) return first.label;
    // A single value among others: equality needs one instruction where two bounds need two.
    if (to - from === 3 && first.label === third!.label && third!.start - second!.start === 1) {
      return assembler.jump(BPF.JEQ_K, second!.start, second!.label, first.label);
    }
    const half = (sums[from]! + sums[to]!) / 2;
    let middle = from + 1;
    while (middle < to - 1 && Math.abs(sums[middle + 1]! - half) <= Math.abs(sums[middle]! - half)) middle++;
    // The lower half is made last and so lies next to this comparison: the frequent numbers are low ones.
    const above = between(middle, to);
    const below = between(from, middle);
    return assembler.jump(BPF.JGE_K, ranges[middle]!.start, above, below);
  };
  return between(0, ranges.length);
}
