import type { Result } from './result.ts';

/**
 * How to find out whether a container does its work. Docker's words. A check that its end or a pause cuts short says nothing,
 * and none does from when it is asked to end. One that cannot be begun inside, where `limits.pids` is reached say, has failed.
 */
export interface HealthSpec {
  /** Runs inside; exit code 0 is healthy. Text is for `/bin/sh -c`. */
  readonly command: string | readonly string[];
  /** Milliseconds from the end of one check to the next. Default 30,000. The first is made at once. */
  readonly interval?: number;
  /** Milliseconds after which a check is killed and has failed. Default 30,000. */
  readonly timeout?: number;
  /** How many failures in a row make it unhealthy. Default 3. */
  readonly retries?: number;
  /** Milliseconds from the start in which failures do not count. Default 0. */
  readonly startPeriod?: number;
  /** The interval of that time. Default 1,000, or `interval` when that is less. */
  readonly startInterval?: number;
}

/** What the checks have shown. */
export interface HealthState {
  /** `unhealthy` after `retries` failures in a row. */
  readonly status: 'starting' | 'healthy' | 'unhealthy';
  /** Failures in a row. */
  readonly failures: number;
  /** End of the output of the last check. */
  readonly lastOutput: string;
}

/** What a check tells. */
export type CheckResult = Pick<Result, 'exitCode' | 'reason' | 'stdout' | 'stderr'>;

/** Runs the health check of a container from its start to its end. Does not keep the event loop alive. */
export class HealthMonitor implements Disposable {
  /** The first verdict. Never settles when there is none. */
  readonly settled: Promise<'healthy' | 'unhealthy'>;
  readonly #spec: HealthSpec;
  readonly #check: (argv: readonly string[], timeoutMs: number) => PromiseLike<CheckResult | undefined>;
  readonly #changed: (state: HealthState) => void;
  readonly #startedAt = performance.now();
  #settle: (status: 'healthy' | 'unhealthy') => void = () => {};
  #state: HealthState = { status: 'starting', failures: 0, lastOutput: '' };
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  /**
   * @param check - runs a command inside; undefined is no verdict, nor is a rejection, when the container cannot now
   * @param changed - called when the status has become another one
   */
  constructor(
    spec: HealthSpec,
    check: (argv: readonly string[], timeoutMs: number) => PromiseLike<CheckResult | undefined>,
    changed: (state: HealthState) => void,
  ) {
    this.#spec = spec;
    this.#check = check;
    this.#changed = changed;
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
    void this.#run();
  }

  get state(): HealthState {
    return this.#state;
  }

  /** Makes no more checks. Idempotent. */
  [Symbol.dispose](): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    const { command, timeout = 30_000, interval = 30_000, startInterval = Math.min(interval, 1000) } = this.#spec;
    const argv = typeof command === 'string' ? ['/bin/sh', '-c', command] : command;
    try {
      const result = await this.#check(argv, timeout);
      if (result) this.#judge(result);
    } catch {
      // Paused, or about to end: the next check will tell.
    }
    if (this.#ended) return;
    this.#timer = setTimeout(() => void this.#run(), this.#starting ? startInterval : interval);
    this.#timer.unref();
  }

  get #starting(): boolean {
    return this.#state.status === 'starting' && performance.now() - this.#startedAt < (this.#spec.startPeriod ?? 0);
  }

  #judge({ exitCode, stdout, stderr }: CheckResult): void {
    if (this.#ended) return;
    const { status } = this.#state;
    const lastOutput = `${stdout}${stderr}`.trimEnd().slice(-4096);
    const failures = exitCode === 0 ? 0 : this.#starting ? this.#state.failures : this.#state.failures + 1;
    const unhealthy = failures >= (this.#spec.retries ?? 3);
    const next = exitCode === 0 ? 'healthy' : unhealthy ? 'unhealthy' : status;
    this.#state = { status: next, failures, lastOutput };
    if (next === status) return;
    if (next !== 'starting') this.#settle(next);
    this.#changed(this.#state);
  }
}
