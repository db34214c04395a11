import { join } from 'node:path';
import { watchContainerCgroup } from './cgroup-watch.ts';
import type { ContainerEvent } from './container-event.ts';
import { type ContainerStatus, readState, STATE_FILE } from './container-state.ts';
import type { EventHub } from './event-hub.ts';
import { type FileWatch, watchFile } from './followed-file.ts';
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
    this.isPaused = this.#status() === 'paused';
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
    const status = this.#status();
    if (status === 'removed') {
      this[Symbol.dispose]();
      // Nobody waits for it.
      this.#watched.removedByOthers().catch(() => {});
    } else if ((status === 'paused' || status === 'running') && this.isPaused !== (status === 'paused')) {
      this.isPaused = !this.isPaused;
      this.#watched.events.emit({ type: this.isPaused ? 'pause' : 'resume' });
    }
  }

  /** undefined when it cannot be read now. */
  #status(): ContainerStatus | undefined {
    try {
      return readState(this.#watched.id)?.status ?? 'removed';
    } catch {
      return undefined;
    }
  }
}
