/** One thing that an update changes. */
export interface PlannedChange {
  /** As in the specification: `limits.memory`. */
  readonly field: string;
  /** undefined: there was no limit. */
  readonly from: unknown;
  readonly to: unknown;
}

/** What would change if these fields were set, those that stay as they are left out. */
export function plannedChanges(prefix: string, now: object, wanted: object): PlannedChange[] {
  const current = new Map(Object.entries(now));
  return Object.entries(wanted)
    .filter(([key, to]) => JSON.stringify(current.get(key)) !== JSON.stringify(to))
    .map(([key, to]) => ({ field: `${prefix}.${key}`, from: current.get(key), to }));
}
