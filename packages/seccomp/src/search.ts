import { type Assembler, BPF, type Label } from './assembler.ts';

/** From `start` up to the start of the next range, `label` decides. */
export interface Range {
  readonly start: number;
  readonly label: Label;
  /** How often it is asked for, relative to the others. Default 1. */
  readonly weight?: number;
}

/** Joins neighbours with the same target: what is left are the places where the decision changes. */
export function mergeRanges(ranges: readonly Range[]): Range[] {
  const merged: Range[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last?.label === range.label)
      merged[merged.length - 1] = { ...last, weight: (last.weight ?? 1) + (range.weight ?? 1) };
    else merged.push(range);
  }
  return merged;
}

/**
 * A binary search for the loaded word over `ranges`, which begin at the lowest possible value. Halves are of equal weight,
 * not of equal count, so that frequent values are found in fewer steps.
 */
export function search(assembler: Assembler, ranges: readonly Range[]): Label {
  const sums = [0];
  for (const { weight = 1 } of ranges) sums.push(sums.at(-1)! + weight);

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
