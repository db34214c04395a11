import type { SyscallError } from '@ns/libc';
import type { ResourceUsage, StageRecord } from './records.ts';

/** How a launched process ended. */
export interface Exit {
  /** 0–255, or null when a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** It was ended because its time was up. */
  readonly timedOut: boolean;
  /** Not all that it wrote found room in the files that its monitor writes. */
  readonly outputLost: boolean;
  /** The step that failed: the program never ran. */
  readonly failure: SyscallError | undefined;
  /** Of the process and all descendants that were waited for. Unknown when its init was killed: that has not waited for them. */
  readonly usage: ResourceUsage | undefined;
}

/** What an init and all it has waited for used, from the record of its end: one that was killed has not waited. */
export function usageOfInit(end: StageRecord | undefined): ResourceUsage | undefined {
  const killed = end && (end.value & 0x7f) !== 0;
  return killed ? undefined : end?.usage;
}
