import { entrust } from '@ns/launch';
import { isAlive, type ProcessIdentity, ResourceStack } from '@ns/libc';
import { recordBelongings } from './belongings.ts';
import { claimName, nameLink, releaseName } from './container-names.ts';
import {
  type ContainerState,
  changeState,
  makeDirectory,
  readState,
  removeState,
  removeStateOfEnded,
  type StateChanges,
  writeState,
} from './container-state.ts';
import { newId } from './design.ts';
import { isDetachable } from './detachment.ts';
import { identifySelf } from './process-identity.ts';
import { type StoredSpec, specToStore } from './stored-spec.ts';
import type { ContainerSpec } from './types.ts';
import { claimsWrites, claimWrites, releaseWrites } from './write-claims.ts';

/** What a container is said to be, here and on disk, where other processes read and change it, too. */
export class ContainerRecord {
  readonly id: string;
  readonly createdAt: Date;
  readonly #owner: ProcessIdentity;
  #spec: ContainerSpec;
  /** What goes when we die: of one that another process made, nothing. */
  #entrusted: Disposable | undefined;
  #name: Disposable | undefined;

  constructor(spec: ContainerSpec, found?: ContainerState) {
    this.id = found?.id ?? newId();
    this.createdAt = found ? new Date(found.createdAt) : new Date();
    this.#owner = found?.owner ?? identifySelf();
    this.#spec = spec;
  }

  /** Is the process there that made it? */
  get makerLives(): boolean {
    return isAlive(this.#owner);
  }

  get spec(): ContainerSpec {
    return this.#spec;
  }

  /** undefined before it was written, and when somebody has removed it. */
  read(): ContainerState | undefined {
    return readState(this.id);
  }

  /**
   * Takes its name and where it writes, and makes its directory: what is kept of it goes when we die.
   *
   * @throws NsError `ERR_NS_CONTAINER_EXISTS`: its name is taken; `ERR_NS_IN_USE`: where it writes
   */
  claim(): void {
    const { name } = this.#spec;
    if (name !== undefined) this.#name = claimName(name, this.id, this.#owner);
    this.#entrusted = entrust(recordBelongings(this.id, this.#spec));
    makeDirectory(this.id, this.#owner);
    this.claimWrites();
  }

  /**
   * Takes where it writes, for a run.
   *
   * @throws NsError `ERR_NS_IN_USE`: another container writes there
   */
  claimWrites(): void {
    claimWrites(this.id, this.#spec, this.#owner);
  }

  /** Its run has ended. */
  releaseWrites(): void {
    if (claimsWrites(this.#spec)) releaseWrites(this.id);
  }

  /**
   * Gives it another name.
   *
   * @returns false when there is none any more: it was removed
   * @throws NsError `ERR_NS_CONTAINER_EXISTS`: the name is taken
   */
  rename(name: string): boolean {
    let free: string | undefined;
    let former: string | undefined;
    try {
      using claim = new ResourceStack();
      // Claimed while nobody else changes it: whoever finds a name here that its state does not have knows that it is free.
      const exists = this.change((now) => {
        if (now.name === name) return {};
        claim.use(claimName(name, this.id, this.#owner));
        free = name;
        // As it is by now: another process may have renamed it, too.
        former = now.name;
        return { name, spec: { ...now.spec, name } };
      });
      if (exists) free = former;
      return exists;
    } finally {
      if (free !== undefined) releaseName(free, this.id);
    }
  }

  /** Somebody has removed it; false when that cannot be told. */
  get isGone(): boolean {
    return this.#ifReadable((state) => state === undefined);
  }

  /** The same, or stopped it. */
  get rests(): boolean {
    return this.#ifReadable((state) => state?.stopRequested !== false);
  }

  /** For the first time. */
  write(
    standing: Omit<
      ContainerState,
      'version' | 'id' | 'name' | 'labels' | 'command' | 'createdAt' | 'owner' | 'detachable' | 'spec'
    >,
  ): void {
    writeState({
      id: this.id,
      name: this.#spec.name,
      labels: this.#spec.labels ?? {},
      command: this.#spec.command,
      createdAt: this.createdAt.toISOString(),
      owner: this.#owner,
      detachable: isDetachable(this.#spec),
      spec: specToStore(this.#spec),
      ...standing,
    });
  }

  /** @returns false when there is none any more: it was removed */
  change(changes: StateChanges | ((state: ContainerState) => StateChanges)): boolean {
    const state = changeState(this.id, changes);
    if (state) this.#refresh(state);
    return state !== undefined;
  }

  /** These fields of the specification are others from now on. */
  respecify(change: (spec: StoredSpec) => StoredSpec): boolean {
    return this.change(({ spec }) => {
      const changed = change(spec);
      return { name: changed.name, spec: changed };
    });
  }

  /** Frees the name, by which others may have called it. Idempotent. */
  remove(): void {
    const name = removeState(this.id) ?? this.#spec.name;
    if (name !== undefined) releaseName(name, this.id);
  }

  /**
   * The same, unless it has processes.
   *
   * @returns its state, when it has
   */
  removeIfEnded(): ContainerState | undefined {
    const { state, name = this.#spec.name } = removeStateOfEnded(this.id);
    if (state) return state;
    // Its ids are given back after it.
    this.#entrusted ??= entrust(recordBelongings(this.id, this.#spec));
    if (name !== undefined) releaseName(name, this.id);
    return undefined;
  }

  #ifReadable(is: (state: ContainerState | undefined) => boolean): boolean {
    try {
      return is(this.read());
    } catch {
      return false;
    }
  }

  /** Whoever has given it that name, it is to be free when we die, unless it outlives us by then. */
  #called(name: string): void {
    if (!this.#entrusted) return;
    this.#name?.[Symbol.dispose]();
    this.#name = entrust({ links: [nameLink(name, this.id, this.#owner)] });
  }

  /** Nothing of it is left, or it outlives us, and others know it by its state: nothing of it goes any more when we die. Idempotent. */
  letGo(): void {
    this.#entrusted?.[Symbol.dispose]();
    this.#entrusted = undefined;
    this.#name?.[Symbol.dispose]();
  }

  /** Others may have changed it, too. */
  #refresh({ name, spec: { limits, egress, bandwidth } }: ContainerState): void {
    if (name !== undefined && name !== this.#spec.name) this.#called(name);
    const { name: _, limits: __, egress: ___, bandwidth: ____, ...rest } = this.#spec;
    this.#spec = {
      ...rest,
      ...(name !== undefined && { name }),
      ...(limits && { limits }),
      ...(egress && { egress }),
      ...(bandwidth && { bandwidth }),
    };
  }
}
