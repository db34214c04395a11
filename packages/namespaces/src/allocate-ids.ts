import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { IdRange } from '@ns/launch';
import { ERRNO, identifyProcess, type ProcessIdentity, SpecError, SyscallError, threadPid } from '@ns/libc';
import { IdAllocationError } from './errors.ts';
import { findFreeRange, type IdInterval, intersect } from './free-range.ts';
import { IdMap } from './id-map.ts';
import type { IdMappings } from './id-mappings.ts';
import { LeaseDirectory, type LeaseRecord, leaseName } from './lease-directory.ts';
import { rangesOf, readSubordinateIds } from './subordinate-ids.ts';

/** Options of {@link allocateIds}. */
export interface AllocateIdsOptions {
  /** Where the leases are: made with mode 0700 when it is missing. All that share ids must share it. */
  readonly stateDir: string;
  /** Name of the lease. Default: a random one. */
  readonly id?: string;
  /** How many ids. Default 65536, as images expect up to 65534 (nobody). */
  readonly size?: number;
  /** Whose death frees the range. Default: this thread of Node. */
  readonly ownerPid?: number;
  /** Where ranges come from. Default: {@link defaultIdPools}. */
  readonly pools?: IdPools;
  /** How long to wait for others who allocate. Default 10 000. */
  readonly lockTimeoutMs?: number;
}

/** Host ids that may be handed out. */
export interface IdPools {
  /** Intervals of uids, in any order. */
  readonly uids: readonly IdInterval[];
  /** Intervals of gids, in any order. */
  readonly gids: readonly IdInterval[];
  /** Never handed out although in a pool. */
  readonly reserved?: { readonly uids: readonly IdInterval[]; readonly gids: readonly IdInterval[] };
}

// Above what useradd grants (SUB_UID_MAX 600100000), below where systemd's container range ends.
const PRIVILEGED_POOL: IdInterval = { start: 0x30000000, size: 0x3fff0000 };

// In a user namespace that has none of those: what is above the ids an image uses.
const NESTED_POOL: IdInterval = { start: 0x10000, size: 0xffffffff - 0x10000 };

/**
 * As root: host ids 805306368 to 1878982655 without those that `/etc/subuid` and `/etc/subgid` grant to anybody; in a user namespace
 * that does not map them, its ids from 65536 on. As an ordinary user: what these files grant to him.
 *
 * Reads `/etc/subuid`, `/etc/subgid` and `/proc/self/uid_map`; needs no privilege.
 *
 * @throws SyscallError `EACCES` for a file that is there and cannot be read
 *
 * @example
 * ```ts
 * const pools = defaultIdPools();
 * await using lease = await allocateIds({ stateDir: '/run/ns/ids', pools: { ...pools, gids: pools.uids } });
 * ```
 */
export function defaultIdPools(): IdPools {
  const [uids, gids] = [readSubordinateIds('uid'), readSubordinateIds('gid')];
  if (process.geteuid!() !== 0) return { uids: rangesOf(uids), gids: rangesOf(gids) };
  return { uids: rootPool('uid'), gids: rootPool('gid'), reserved: { uids, gids } };
}

function rootPool(ids: 'uid' | 'gid'): IdInterval[] {
  // Only ids that exist in our own user namespace can be mapped into one below it.
  const ours = (IdMap.read('self', ids)?.ranges ?? []).map(({ container, size }) => ({ start: container, size }));
  const within = (pool: IdInterval) => ours.flatMap((range) => intersect(range, pool) ?? []);
  const usual = within(PRIVILEGED_POOL);
  return usual.length > 0 ? usual : within(NESTED_POOL);
}

/**
 * A range of host ids for one container, so that its root is nobody outside and nobody in another container: `idMap: 'auto'`.
 *
 * No id is handed out twice: allocation happens under a lock, each lease is a file with the owner's pid and start time, and only
 * a lease whose owner is gone is taken back.
 *
 * @throws IdAllocationError `ERR_NS_IDS_EXHAUSTED` when no range is free, `ERR_NS_LEASE_CORRUPT`, `ERR_NS_LEASE_BUSY`
 * @throws SyscallError `ESRCH` when there is no owner
 *
 * @example
 * ```ts
 * await using lease = await allocateIds({ stateDir: '/run/ns/ids' });
 * await writeIdMaps(pid, lease.mappings);
 * ```
 */
export async function allocateIds(options: AllocateIdsOptions): Promise<IdLease> {
  const { stateDir, id = randomUUID(), size = 65536, ownerPid = threadPid(), lockTimeoutMs = 10_000 } = options;
  if (!Number.isInteger(size) || size <= 0 || size >= 0xffffffff) throw new SpecError('size', 'a number of ids', size);
  const name = leaseName(id);
  const pools = options.pools ?? defaultIdPools();
  const owner = ownerOf(ownerPid);
  // Nothing is awaited while the lock is held.
  using directory = await LeaseDirectory.open(stateDir, lockTimeoutMs);
  const leases = directory.read();
  if (leases.has(name)) throw new SpecError('id', 'a name that no lease has', id);
  const taken = [...leases.values()];
  const record: LeaseRecord = { uids: take(pools, 'uids', taken, size), gids: take(pools, 'gids', taken, size), owner };
  directory.write(name, record);
  return new IdLease(stateDir, id, record, lockTimeoutMs);
}

/** Options of {@link shareIds}. */
export interface ShareIdsOptions
  extends Pick<AllocateIdsOptions, 'stateDir' | 'ownerPid' | 'lockTimeoutMs'>,
    Record<'uids' | 'gids', readonly IdRange[]> {
  /** Name of the lease. */
  readonly id: string;
}

/**
 * A second lease of ids that somebody has by now, for who is in his user namespace: they are free when both have released them.
 *
 * @returns undefined when nobody has leased these ids
 * @throws IdAllocationError `ERR_NS_LEASE_CORRUPT`, `ERR_NS_LEASE_BUSY`
 * @throws SpecError for a name that a lease has
 *
 * @example
 * ```ts
 * const range = { container: 0, host: 805_306_368, size: 65_536 };
 * await using lease = await shareIds({ stateDir: '/run/ns/ids', id: 'sidecar', uids: [range], gids: [range] });
 * ```
 */
export async function shareIds(options: ShareIdsOptions): Promise<IdLease | undefined> {
  const { stateDir, id, uids, gids, ownerPid = threadPid(), lockTimeoutMs = 10_000 } = options;
  const name = leaseName(id);
  const owner = ownerOf(ownerPid);
  using directory = await LeaseDirectory.open(stateDir, lockTimeoutMs);
  const leases = directory.read();
  if (leases.has(name)) throw new SpecError('id', 'a name that no lease has', id);
  const isWhole = (ranges: readonly IdRange[], { start, size }: IdInterval) =>
    ranges.length === 1 && ranges[0]!.host === start && ranges[0]!.size === size;
  const found = [...leases].find(([, lease]) => isWhole(uids, lease.uids) && isWhole(gids, lease.gids));
  if (!found) return undefined;
  const [first, lease] = found;
  const record: LeaseRecord = { uids: lease.uids, gids: lease.gids, owner, sharedFrom: lease.sharedFrom ?? first };
  directory.write(name, record);
  return new IdLease(stateDir, id, record, lockTimeoutMs);
}

function ownerOf(pid: number): ProcessIdentity {
  const owner = identifyProcess(pid);
  if (owner) return owner;
  throw new SyscallError('open', ERRNO.ESRCH, { path: `/proc/${pid}/stat` });
}

function take(pools: IdPools, ids: 'uids' | 'gids', leases: readonly LeaseRecord[], size: number): IdInterval {
  const taken = [...leases.map((lease) => lease[ids]), ...(pools.reserved?.[ids] ?? [])];
  const found = findFreeRange(pools[ids], taken, size);
  if (found) return found;
  const file = ids === 'uids' ? '/etc/subuid' : '/etc/subgid';
  const why = pools[ids].length === 0 ? `${file} grants this user none` : `${leases.length} leases hold the others`;
  throw new IdAllocationError('ERR_NS_IDS_EXHAUSTED', `no ${size} ${ids} in a row are free: ${why}`, {
    hint: `Grant more in ${file} (usermod --add-sub${ids}), ask for a smaller size, or map only your own id`,
  });
}

/**
 * Frees what dead owners left behind.
 *
 * @returns names of the leases that are still held
 * @throws IdAllocationError `ERR_NS_LEASE_CORRUPT`, `ERR_NS_LEASE_BUSY`
 *
 * @example
 * ```ts
 * const held = await reclaimIds('/run/ns/ids');
 * ```
 */
export async function reclaimIds(
  stateDir: string,
  options: { readonly lockTimeoutMs?: number } = {},
): Promise<string[]> {
  using directory = await LeaseDirectory.open(stateDir, options.lockTimeoutMs ?? 10_000);
  return [...directory.read().keys()].map((name) => name.slice(0, -'.lease'.length));
}

/**
 * Frees a lease by its name, from whatever process. Returns whether it was held.
 *
 * @throws SpecError for what is no name of a lease
 * @throws IdAllocationError `ERR_NS_LEASE_BUSY`
 *
 * @example
 * ```ts
 * if (!(await releaseIds('/run/ns/ids', 'web-1'))) console.log('nobody had it');
 * ```
 */
export async function releaseIds(
  stateDir: string,
  id: string,
  options: { readonly lockTimeoutMs?: number } = {},
): Promise<boolean> {
  const name = leaseName(id);
  using directory = await LeaseDirectory.open(stateDir, options.lockTimeoutMs ?? 10_000);
  return directory.remove(name);
}

/**
 * A range that is nobody else's until it is released or its owner has died.
 *
 * @example
 * ```ts
 * async function rootOutside(lease: IdLease): Promise<number> {
 *   await lease.transfer(pid); // it is the container's from now on
 *   return lease.mappings.uids.toHost(0)!;
 * }
 * ```
 */
export class IdLease implements AsyncDisposable {
  /** Name of the lease, for {@link releaseIds}. */
  readonly id: string;
  /** Host uids. */
  readonly uids: IdInterval;
  /** Host gids. */
  readonly gids: IdInterval;
  /** The range as maps: id 0 inside is the first. */
  readonly mappings: IdMappings;
  readonly #stateDir: string;
  readonly #lockTimeoutMs: number;
  readonly #sharedFrom: string | undefined;
  #released = false;

  /** Made by {@link allocateIds} or {@link shareIds}. */
  constructor(stateDir: string, id: string, { uids, gids, sharedFrom }: LeaseRecord, lockTimeoutMs: number) {
    this.id = id;
    this.uids = uids;
    this.gids = gids;
    this.mappings = { uids: IdMap.single(0, uids.start, uids.size), gids: IdMap.single(0, gids.start, gids.size) };
    this.#stateDir = stateDir;
    this.#lockTimeoutMs = lockTimeoutMs;
    this.#sharedFrom = sharedFrom;
  }

  /** The lease's file: whoever removes it frees the range. */
  get path(): string {
    return join(this.#stateDir, leaseName(this.id));
  }

  /**
   * Makes another process the owner: the container's, when it outlives this one.
   *
   * @throws SyscallError `ESRCH` when it does not exist
   */
  async transfer(ownerPid: number): Promise<void> {
    using directory = await LeaseDirectory.open(this.#stateDir, this.#lockTimeoutMs);
    directory.write(leaseName(this.id), this.#recordFor(ownerPid));
  }

  #recordFor(ownerPid: number): LeaseRecord {
    const sharedFrom = this.#sharedFrom;
    return {
      uids: this.uids,
      gids: this.gids,
      owner: ownerOf(ownerPid),
      ...(sharedFrom !== undefined && { sharedFrom }),
    };
  }

  /**
   * Makes this thread the owner again, after the one it was transferred to has died.
   *
   * @throws IdAllocationError `ERR_NS_IDS_EXHAUSTED`: somebody else has the range by now
   */
  async retake(): Promise<void> {
    using directory = await LeaseDirectory.open(this.#stateDir, this.#lockTimeoutMs);
    const name = leaseName(this.id);
    const first = this.#sharedFrom ?? name;
    const others = [...directory.read()]
      // Who shares them is no other.
      .filter(([other, { sharedFrom = other }]) => other !== name && sharedFrom !== first)
      .map(([, lease]) => lease);
    for (const ids of ['uids', 'gids'] as const) {
      if (!others.some((lease) => intersect(lease[ids], this[ids]))) continue;
      throw new IdAllocationError('ERR_NS_IDS_EXHAUSTED', `the ${ids} of ${this.id} are somebody else's by now`, {
        hint: 'Make it anew; what belongs to the old ids can be copied',
      });
    }
    directory.write(name, this.#recordFor(threadPid()));
  }

  /** Frees the range; the next may have it at once, so let nothing that runs or is stored belong to it. Idempotent. */
  async release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    await releaseIds(this.#stateDir, this.id, { lockTimeoutMs: this.#lockTimeoutMs });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}
