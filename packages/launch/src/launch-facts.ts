import type { OwnedFd } from '@ns/libc';
import { Deferred } from './deferred.ts';

/** What a launched process tells of itself before its end, each once. */
export class LaunchFacts {
  readonly started = new Deferred<number>();
  readonly ready = new Deferred<void>();
  readonly executed = new Deferred<void>();
  readonly payloadEnded = new Deferred<void>();
  readonly listener = new Deferred<OwnedFd>();
  readonly terminal = new Deferred<OwnedFd>();
  readonly scratch = new Deferred<OwnedFd>();
  readonly #all: readonly Deferred<unknown>[] = [
    this.started,
    this.ready,
    this.executed,
    this.payloadEnded,
    this.listener,
    this.terminal,
    this.scratch,
  ];

  /** Somebody has asked for one that was not told yet. */
  get awaited(): boolean {
    return this.#all.some(({ awaited }) => awaited);
  }

  /** The process has ended: what it has not told it never will. */
  end(makeReason: () => unknown): void {
    this.payloadEnded.resolve();
    for (const fact of this.#all) fact.reject(makeReason);
  }
}
