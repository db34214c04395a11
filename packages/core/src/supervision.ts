import { setTimeout as delay } from 'node:timers/promises';
import type { ContainerProcess } from './container-process.ts';
import { ContainerStartError } from './errors.ts';
import type { ExecOptions } from './exec.ts';
import { type CheckResult, HealthMonitor, type HealthState } from './health.ts';
import { type PlannedRestart, RestartCounter } from './restart-policy.ts';
import type { Result } from './result.ts';
import type { ContainerSpec } from './types.ts';
import { untilReady, type WaitSubject } from './wait/until-ready.ts';

/** What supervision tells of. */
export type SupervisionEvent =
  /** Its health is another one now. */
  | ({ readonly type: 'health' } & HealthState)
  /** It has ended and will be started again after a pause. */
  | ({ readonly type: 'restart' } & PlannedRestart)
  /** It could not be started again. */
  | { readonly type: 'restart-failed'; readonly error: unknown };

/** What supervision may do with its container. */
export interface Supervised {
  exec(argv: readonly string[], options: ExecOptions): ContainerProcess;
  /** Its program runs, and does not begin to end. */
  runs(): boolean;
  /** Begins another run. */
  startAgain(): Promise<void>;
  emit(event: SupervisionEvent): void;
}

/** A container that has no room for the check, by its limit on processes say, is not well. */
function asFailure(error: unknown): CheckResult {
  if (!(error instanceof ContainerStartError && error.step && error.errnoCode === 'EAGAIN')) throw error;
  return { exitCode: null, reason: 'exit', stdout: '', stderr: error.message };
}

/** What goes on around the runs of a container: when it is ready, whether it is well, and whether it starts again. */
export class Supervision implements Disposable {
  readonly #spec: Pick<ContainerSpec, 'wait' | 'health' | 'restart'>;
  readonly #container: Supervised;
  readonly #restarts: RestartCounter;
  #health: HealthMonitor | undefined;
  #timer: NodeJS.Timeout | undefined;
  #restarting: Promise<void> | undefined;
  #heldBack = false;
  #pauses = 0;

  constructor(spec: Pick<ContainerSpec, 'wait' | 'health' | 'restart'>, container: Supervised) {
    this.#spec = spec;
    this.#container = container;
    this.#restarts = new RestartCounter(spec.restart ?? 'no');
  }

  get health(): HealthState | undefined {
    return this.#health?.state;
  }

  /** A run is about to begin. */
  beginning(): void {
    this.#heldBack = false;
  }

  /** The program runs. */
  began(): void {
    const { health } = this.#spec;
    if (!health) return;
    this.#health = new HealthMonitor(
      health,
      (argv, timeout) => this.#check(argv, timeout),
      (state) => this.#container.emit({ type: 'health', ...state }),
    );
  }

  /** It is about to be held still. */
  pausing(): void {
    this.#pauses++;
  }

  /** @returns undefined when it was held still or asked to end meanwhile, or ends: that failed, not what it does */
  async #check(argv: readonly string[], timeout: number): Promise<CheckResult | undefined> {
    const pauses = this.#pauses;
    const maxOutput = { bytes: 4096, onExceed: 'drop-head' } as const;
    const result = await this.#container.exec(argv, { timeout, stdin: 'null', maxOutput }).catch(asFailure);
    // The end of a container kills its commands a moment before it can be seen; then nobody asks for the verdict any more.
    if (result.reason === 'signal') await delay(1000, undefined, { ref: false });
    return !this.#heldBack && pauses === this.#pauses && this.#container.runs() ? result : undefined;
  }

  /** Settles when the run that has begun is ready, as the specification has it. */
  async ready(subject: Omit<WaitSubject, 'health'>): Promise<void> {
    const { wait } = this.#spec;
    if (wait) await untilReady(wait, { ...subject, health: this.#health });
  }

  /** A run has ended. */
  ended(result: Pick<Result, 'exitCode' | 'reason' | 'durationMs'>): void {
    this.#health?.[Symbol.dispose]();
    const planned = this.#heldBack ? undefined : this.#restarts.next(result);
    if (!planned) return;
    this.#container.emit({ type: 'restart', ...planned });
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#restarting = this.#restart().finally(() => {
        this.#restarting = undefined;
      });
    }, planned.delayMs);
  }

  /**
   * The user decides: nothing starts by itself when this settles, until the next run begins.
   *
   * @returns whether something was about to
   */
  async holdBack(): Promise<boolean> {
    this.#heldBack = true;
    const wasDue = this.#timer !== undefined || this.#restarting !== undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#restarting;
    this.#heldBack = true;
    this.#restarts.reset();
    return wasDue;
  }

  /** Looks after it no longer. */
  [Symbol.dispose](): void {
    this.#heldBack = true;
    clearTimeout(this.#timer);
    this.#health?.[Symbol.dispose]();
  }

  async #restart(): Promise<void> {
    try {
      await this.#container.startAgain();
    } catch (error) {
      this.#container.emit({ type: 'restart-failed', error });
      this.ended({ exitCode: null, reason: 'exit', durationMs: 0 });
    }
  }
}
