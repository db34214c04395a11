import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cgroup } from '@ns/cgroups';
import { entrust } from '@ns/launch';
import { IdleTimer, ownTurn } from '@ns/libc';
import { createCommandCgroup, limitedControllers } from './container-cgroup.ts';
import type { ContainerSpec } from './types.ts';

/** How long the next command's cgroup is kept ready at least. */
const IDLE_MS = 500;

interface Spare {
  readonly cgroup: Promise<Cgroup>;
  /** The trees it is in are those of these controllers: an update of the container may have added some since. */
  readonly account: string;
}

/**
 * Cgroups for the commands that are run in a container: one for each. Making and removing one are a good part of the time of
 * a short command: so while one command follows another, the next one's is made and the last one's removed when nobody waits.
 */
export class ExecCgroups implements AsyncDisposable {
  readonly #container: Cgroup;
  readonly #idle = new IdleTimer(
    () => IDLE_MS,
    () => this.#dropSpare(),
  );
  readonly #removals = new Set<Promise<void>>();
  #spare: Spare | undefined;
  /** Nobody would remove a spare of a process that ends before the container. */
  #keepsSpare: boolean;
  /** Nor those of the commands: they go when we die. */
  readonly #entrusted: WeakMap<Cgroup, Disposable> | undefined;

  /**
   * @param container - stays the caller's
   * @param options - `keepsSpare`: it ends with this process
   */
  constructor(container: Cgroup, { keepsSpare }: { keepsSpare: boolean }) {
    this.#container = container;
    this.#keepsSpare = keepsSpare;
    this.#entrusted = keepsSpare ? undefined : new WeakMap();
  }

  /**
   * One for a command, that is its alone. All names are of one length: then the program of one command serves the next.
   *
   * @throws CgroupGoneError when the container is gone
   */
  async take(spec: ContainerSpec): Promise<Cgroup> {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare?.account === accountOf(spec)) {
      const cgroup = await spare.cgroup.catch(() => undefined);
      // Somebody may have removed it.
      if (cgroup && !cgroup.gone) return cgroup;
    }
    if (spare) this.#removeLater(spare.cgroup);
    return this.#make(spec);
  }

  /** Takes one back whose command has ended, with all it has started. */
  giveBack(cgroup: Cgroup, spec: ContainerSpec): void {
    this.#removeLater(Promise.resolve(cgroup), () => this.#makeSpare(spec));
  }

  /** Takes one back at once whose command has not begun. */
  async remove(cgroup: Cgroup): Promise<void> {
    try {
      await cgroup[Symbol.asyncDispose]();
    } finally {
      this.#entrusted?.get(cgroup)?.[Symbol.dispose]();
    }
  }

  /** Removes all but those that were taken. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#keepsSpare = false;
    this.#dropSpare();
    await Promise.all(this.#removals);
  }

  async #make(spec: ContainerSpec): Promise<Cgroup> {
    const name = `exec-${randomBytes(6).toString('hex')}`;
    if (!this.#entrusted) return createCommandCgroup(this.#container, name, spec);
    const entrusted = entrust({ cgroups: this.#container.possiblePaths.map((path) => join(path, name)) });
    try {
      const cgroup = await createCommandCgroup(this.#container, name, spec);
      this.#entrusted.set(cgroup, entrusted);
      return cgroup;
    } catch (error) {
      entrusted[Symbol.dispose]();
      throw error;
    }
  }

  #makeSpare(spec: ContainerSpec): void {
    if (this.#spare || !this.#keepsSpare) return;
    this.#idle.use();
    this.#spare = { cgroup: this.#make(spec), account: accountOf(spec) };
    // Whoever takes it hears of a failure, by making another one.
    this.#spare.cgroup.catch(() => {});
  }

  #dropSpare(): void {
    this.#idle.stop();
    if (this.#spare) this.#removeLater(this.#spare.cgroup);
    this.#spare = undefined;
  }

  #removeLater(cgroup: Promise<Cgroup>, before = () => {}): void {
    const removal = this.#removeInOwnTurn(cgroup, before).finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
  }

  async #removeInOwnTurn(making: Promise<Cgroup>, before: () => void): Promise<void> {
    // Whoever has waited for the command and goes on at once comes first.
    await delay(1);
    await ownTurn('tidying up');
    before();
    try {
      await this.remove(await making);
    } catch {
      // It is empty: whoever removes the container removes it.
    }
  }
}

function accountOf(spec: ContainerSpec): string {
  return limitedControllers(spec).join();
}
