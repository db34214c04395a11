import type { Result } from './result.ts';

/** Whether a container starts again when its program has ended. */
export type RestartPolicy = 'no' | 'on-failure' | `on-failure:${number}` | 'always' | 'unless-stopped';

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 60_000;
// A program that ran for so long had begun well: its next failure is a first one again.
const STABLE_MS = 10_000;

/** Ends of our own making are meant. */
const restartable: ReadonlySet<Result['reason']> = new Set(['exit', 'signal', 'oom']);

/** A restart that is due. */
export interface PlannedRestart {
  /** From 1. */
  readonly attempt: number;
  readonly delayMs: number;
}

/** Counts restarts and says when the next is due: after 100 ms, then twice as long each time, up to a minute, as Docker does. */
export class RestartCounter {
  readonly #policy: RestartPolicy;
  #attempts = 0;
  #delayMs = FIRST_DELAY_MS;

  constructor(policy: RestartPolicy) {
    this.#policy = policy;
  }

  /** @returns undefined when it stays stopped */
  next(result: Pick<Result, 'exitCode' | 'reason' | 'durationMs'>): PlannedRestart | undefined {
    if (result.durationMs >= STABLE_MS) this.reset();
    const [kind, limit = 'Infinity'] = this.#policy.split(':');
    const failed = result.exitCode !== 0;
    const wanted = kind === 'always' || kind === 'unless-stopped' || (kind === 'on-failure' && failed);
    if (!wanted || !restartable.has(result.reason) || this.#attempts >= Number(limit)) return undefined;
    const planned = { attempt: ++this.#attempts, delayMs: this.#delayMs };
    this.#delayMs = Math.min(this.#delayMs * 2, MAX_DELAY_MS);
    return planned;
  }

  /** Somebody started it anew. */
  reset(): void {
    this.#attempts = 0;
    this.#delayMs = FIRST_DELAY_MS;
  }
}
