import { join } from 'node:path';
import type { ProcessIdentity } from '@ns/libc';
import { watchContainerCgroup } from './cgroup-watch.ts';
import type { ContainerEvent } from './container-event.ts';
import { type ContainerState, readState, STATE_FILE } from './container-state.ts';
import type { EventHub } from './event-hub.ts';
import { type FileWatch, watchFile } from './followed-file.ts';
import { isSame } from './process-identity.ts';
import type { RunHandle } from './run-handle.ts';
import { containerDirectory } from './state-root.ts';
import type { ContainerSpec } from './types.ts';

/** What is watched, and who is told. */
interface Watched {
  readonly id: string;
  readonly spec: ContainerSpec;
  /** Another process made it. */
  readonly isFound: boolean;
  readonly run: RunHandle | undefined;
  readonly events: Pick<EventHub<ContainerEvent>, 'emit'>;
  removedByOthers(): Promise<void>;
  /** Its maker has started it again: takes hold of that run. */
  catchUp(): Promise<void>;
}

/**
 * Hears what happens to a container without this process doing it: what other processes do is in its state, which they write.
 * Does not keep the event loop alive.
 */
export class ContainerWatch implements Disposable {
  /** What was told last. */
  isPaused = false;
  readonly #watched: Watched;
  #isWatching = false;
  /** First process of the run whose start was told, or was before anybody listened. */
  #started: ProcessIdentity | undefined;
  #state: FileWatch | undefined;
  #unwatchCgroup = () => {};

  constructor(watched: Watched) {
    this.#watched = watched;
  }

  /** Begins, or goes on with another run. */
  start(): void {
    this[Symbol.dispose]();
    const { id, spec, isFound, run, events } = this.#watched;
    this.#isWatching = true;
    const state = this.#read();
    const known = state === 'removed' ? undefined : state;
    this.isPaused = known?.status === 'paused';
    this.#started = known && isRunning(known) ? known.init : undefined;
    this.#state = watchFile(join(containerDirectory(id), STATE_FILE), () => this.#look());
    // It may be gone by now, and nobody tells of that again.
    queueMicrotask(() => this.#look());
    try {
      if (isFound) this.#unwatchCgroup = watchContainerCgroup(run?.cgroup, spec, (event) => events.emit(event));
    } catch {
      // It has ended: its cgroup is closed, or gone.
    }
  }

  [Symbol.dispose](): void {
    this.#isWatching = false;
    this.#state?.close();
    this.#unwatchCgroup();
    this.#unwatchCgroup = () => {};
  }

  #look(): void {
    if (!this.#isWatching) return;
    const state = this.#read();
    if (state === 'removed') {
      this[Symbol.dispose]();
      // Nobody waits for it.
      this.#watched.removedByOthers().catch(() => {});
    } else if (state && isRunning(state)) {
      if (this.#watched.isFound) this.#hearOfStart(state.init);
      if (this.isPaused === (state.status === 'paused')) return;
      this.isPaused = !this.isPaused;
      this.#watched.events.emit({ type: this.isPaused ? 'pause' : 'resume' });
    }
  }

  /** Its maker, another process, has started it. */
  #hearOfStart(init: ProcessIdentity | undefined): void {
    if (!init || (this.#started && isSame(this.#started, init))) return;
    this.#started = init;
    const tell = () => this.#watched.events.emit({ type: 'start', pid: init.pid });
    // Of one that has ended meanwhile the next thing to hear is the end.
    this.#watched.catchUp().then(tell, tell);
  }

  /** undefined when it cannot be read now. */
  #read(): ContainerState | 'removed' | undefined {
    try {
      return readState(this.#watched.id) ?? 'removed';
    } catch {
      return undefined;
    }
  }
}

const isRunning = ({ status }: ContainerState): boolean => status === 'running' || status === 'paused';
