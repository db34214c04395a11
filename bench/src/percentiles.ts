/** The value below which the given share of the samples lies; `share` from 0 to 1. Sorts nothing in place. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

export const median = (samples: readonly number[]): number => percentile(samples, 0.5);
