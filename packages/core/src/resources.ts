import type { Cgroup } from '@ns/cgroups';
import { entrust } from '@ns/launch';
import { AsyncResourceStack, rollBack, SyscallError, UnavailableError } from '@ns/libc';
import type { IdLease } from '@ns/namespaces';
import { runBelongings } from './belongings.ts';
import { createContainerCgroup, isLimited } from './container-cgroup.ts';
import { keptWritesOf, type OpenedWrites, openKeptWrites } from './kept-writes.ts';
import { mapLayers } from './mapped-layers.ts';
import { mappedWritesOf, openMappedWrites } from './mapped-writes.ts';
import { sharesPids } from './namespaces.ts';
import type { ContainerNetwork } from './network/container-network.ts';
import { liveNetworks } from './network/live-networks.ts';
import { requirePrivilege, wantsNetwork, wantsUserNetwork } from './network/network-spec.ts';
import { UserContainerNetwork } from './network/user-container-network.ts';
import { isAssembled } from './plan/root-steps.ts';
import { mountContext, needsPreparation, type PreparedMounts, prepareMounts } from './prepare-mounts.ts';
import { resolveRoot } from './rootfs.ts';
import { sharesMemoryWith } from './shared-memory.ts';
import type { ContainerSpec } from './types.ts';
import { holdIds, mayHoldIds, resolveIdMaps } from './user-namespace.ts';
import { volumeUser } from './volume-store.ts';
import { claimsWrites, claimWritesOnce } from './write-claims.ts';

/** What a container holds outside of its processes, from before its first to after its last. */
export interface Resources extends AsyncDisposable {
  readonly cgroup: Cgroup | undefined;
  readonly ids: IdLease | undefined;
  readonly kept: OpenedWrites | undefined;
  readonly mounts: PreparedMounts | undefined;
  readonly network: ContainerNetwork | UserContainerNetwork | undefined;
  /** It outlives us from now on: what belongs to it stays when we die. */
  outlivesUs(): void;
}

/** Nothing to hold: most runs. */
export const noResources: Resources = {
  cgroup: undefined,
  ids: undefined,
  kept: undefined,
  mounts: undefined,
  network: undefined,
  outlivesUs: () => {},
  [Symbol.asyncDispose]: async () => {},
};

/** Must anything be made before the first process? */
export function needsResources(spec: ContainerSpec): boolean {
  return (
    isLimited(spec) ||
    // Only a cgroup tells which processes are ours.
    sharesPids(spec) ||
    mayHoldIds(spec) ||
    needsPreparation(spec) ||
    keptWritesOf(spec) !== undefined ||
    mappedWritesOf(spec) !== undefined ||
    claimsWrites(spec) ||
    wantsNetwork(spec) ||
    wantsUserNetwork(spec)
  );
}

/**
 * Makes what a container needs. An ordinary user without a delegated cgroup does without one if nothing is limited.
 *
 * @param lent - what it has already, between its runs too; that is not released with the rest
 * @throws NsError `ERR_NS_IN_USE`: another container writes where this one shall
 */
export async function acquireResources(
  id: string,
  spec: ContainerSpec,
  lent?: Partial<Pick<Resources, 'ids' | 'kept'>>,
): Promise<Resources> {
  const held = new AsyncResourceStack();
  const release = () => held[Symbol.asyncDispose]();
  // From before the first of it is made until the last is gone.
  const entrusted = entrust(runBelongings(id, spec, lent ?? {}));
  held.use(entrusted);
  const outlivesUs = () => {
    entrusted[Symbol.dispose]();
    liveNetworks.get(id)?.outlivesUs();
  };
  try {
    if (!lent) held.use(claimWritesOnce(id, spec));
    const cgroup = held.use(await cgroupFor(id, spec));
    const ids = lent?.ids ?? held.use(await holdIds(id, spec));
    const kept = lent?.kept ?? held.use(await openKept(spec, ids));
    const mounts = held.use(needsPreparation(spec) ? await prepare(id, spec, ids) : undefined);
    const network = held.use(
      wantsNetwork(spec)
        ? await connectNetwork(id, spec)
        : wantsUserNetwork(spec)
          ? await UserContainerNetwork.prepare(id, spec)
          : undefined,
    );
    return { cgroup, ids, kept, mounts, network, outlivesUs, [Symbol.asyncDispose]: release };
  } catch (error) {
    throw await rollBack(error, release);
  }
}

/** The directory in which it keeps what it writes, if it has one. */
export async function openKept(spec: ContainerSpec, ids: IdLease | undefined): Promise<OpenedWrites | undefined> {
  const kept = keptWritesOf(spec);
  const given = mappedWritesOf(spec);
  if (given) return openMappedWrites(given, resolveIdMaps(spec, ids)!);
  const idMaps = kept && resolveIdMaps(spec, ids);
  return kept && openKeptWrites(kept, idMaps, { assembled: isAssembled(resolveRoot(spec), idMaps !== undefined) });
}

async function prepare(id: string, spec: ContainerSpec, ids: IdLease | undefined): Promise<PreparedMounts> {
  const root = resolveRoot(spec);
  const context = mountContext(spec, ids);
  const besides = { layers: await mapLayers(root, context), memoryOf: sharesMemoryWith(spec) };
  return prepareMounts(volumeUser(id), root, spec.mounts ?? [], context, besides);
}

/** What is needed for networks takes a tenth of a second to load, which only those pay who want one. */
async function connectNetwork(id: string, spec: ContainerSpec): Promise<ContainerNetwork> {
  requirePrivilege(spec);
  const { ContainerNetwork } = await import('./network/container-network.ts');
  return ContainerNetwork.create(id, spec);
}

async function cgroupFor(id: string, spec: ContainerSpec): Promise<Cgroup | undefined> {
  try {
    return await createContainerCgroup(id, spec);
  } catch (error) {
    const notAllowed =
      error instanceof UnavailableError ||
      (error instanceof SyscallError && (error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'EROFS'));
    if (!isLimited(spec) && notAllowed && process.geteuid!() !== 0) return undefined;
    throw error;
  }
}
