import { readdirSync, readlinkSync, rmdirSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileCall, hasCode, SpecError, withDirectoryLockSync } from '@ns/libc';
import { AddressInUseError, AddressPoolExhaustedError } from '../errors.ts';
import { checkStateName, removeStateDirectory, stateDirectory, stateRoot } from '../state-directory.ts';
import { addressNumber, addressText, contains, hostRange, parseSubnet, type Subnet } from './subnet.ts';

const GUESSES = 8;

/** What a pool hands out, and what it keeps back. */
export interface AddressPoolOptions {
  /** Name of the network: a directory of the state root. */
  readonly name: string;
  /** `10.1.0.0/16`, `fd00:1::/64` */
  readonly subnet: string;
  /** Default: the first address hosts may have; none for a /32 or /128. `null`: none. */
  readonly gateway?: string | null;
  /** Hand out addresses of this part of the subnet only, in CIDR notation. */
  readonly range?: string;
  /** Addresses that are somebody else's, by name: never handed out. */
  readonly auxiliaryAddresses?: Readonly<Record<string, string>>;
  /** Default: {@link stateRoot}. */
  readonly stateRoot?: string;
}

/** An address and who has it. */
export interface Lease {
  readonly address: string;
  readonly prefixLength: number;
  readonly owner: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** The symbolic link that is a lease. */
export interface LeaseLink {
  readonly path: string;
  readonly target: string;
}

/** Options of {@link AddressPool.allocate}. */
export interface AllocateOptions {
  /** A certain one, which need not lie in the range. */
  readonly address?: string | undefined;
  /** Since when, in milliseconds since 1970. Default: now. */
  readonly sinceMs?: number;
  /** Is told of the link before it is made. One whose address turns out to be taken has another target there. */
  readonly onAttempt?: (link: LeaseLink) => void;
}

/**
 * Addresses of one subnet, handed out one by one, each to one owner. A lease is a symbolic link named like the address
 * that holds its owner: symlink(2) makes name and content at once and fails when the name is there, so two processes can
 * never get the same address, and a crash leaves either a whole lease or none.
 *
 * Addresses are given in rising order and start over at the end, so that one that was given back is used again as late as
 * possible: neighbours remember who had it.
 *
 * @example
 * const pool = AddressPool.open({ name: 'web', subnet: '10.9.0.0/24' });
 * const lease = pool.allocate('container-1');   // 10.9.0.2; .1 is the gateway
 * pool.release(lease.address);
 */
export class AddressPool {
  readonly name: string;
  readonly subnet: Subnet;
  readonly gateway: string | undefined;
  readonly #root: string;
  readonly #directory: string;
  readonly #range: { first: bigint; last: bigint };
  readonly #kept: ReadonlyMap<bigint, string>;
  #next: bigint;

  private constructor(options: AddressPoolOptions) {
    this.name = checkStateName(options.name);
    this.subnet = parseSubnet(options.subnet);
    this.gateway = gatewayOf(this.subnet, options.gateway);
    this.#range = rangeOf(this.subnet, options.range);
    this.#kept = keptBack(this.subnet, this.gateway, options.auxiliaryAddresses ?? {});
    this.#root = options.stateRoot ?? stateRoot();
    this.#directory = stateDirectory(this.#root, 'ipam', this.name, this.subnet.family);
    this.#next = this.#continueAfter();
  }

  /**
   * Opens a pool; its leases are the ones on disk.
   *
   * @throws SpecError when gateway, range or an auxiliary address is not in the subnet
   */
  static open(options: AddressPoolOptions): AddressPool {
    return new AddressPool(options);
  }

  /**
   * Gives an address to an owner.
   *
   * @throws AddressPoolExhaustedError when none is free
   * @throws AddressInUseError when the wanted one is taken or kept back
   * @throws SpecError when the wanted one is not in the subnet
   */
  allocate(owner: string, { address, sinceMs: since = Date.now(), onAttempt }: AllocateOptions = {}): Lease {
    const put = (number: bigint): boolean => {
      const link = this.#link(number, owner, since);
      onAttempt?.(link);
      return makeLink(link);
    };
    const number = address === undefined ? this.#takeNext(put) : this.#takeWanted(put, address);
    return { address: addressText(number, this.subnet.family), prefixLength: this.subnet.prefixLength, owner, since };
  }

  /** The link that {@link allocate} tries first. */
  firstAttempt(
    owner: string,
    { address, sinceMs }: { readonly address?: string | undefined; sinceMs: number },
  ): LeaseLink {
    const { first, last } = this.#range;
    let number = address === undefined ? this.#next : addressNumber(address);
    if (address === undefined && this.#kept.has(number)) number = number >= last ? first : number + 1n;
    return this.#link(number, owner, sinceMs);
  }

  /**
   * Gives an address back. Idempotent.
   *
   * @param owner - whose it is: by now it may be another's, who keeps it. Left out, whosever it is
   */
  release(address: string, owner?: string): void {
    const number = addressNumber(address);
    try {
      withDirectoryLockSync(this.#directory, () => {
        if (owner === undefined || this.#read(leaseName(number, this.subnet))?.owner === owner)
          unlinkIfThere(this.#path(number));
      });
    } catch (error) {
      // The network was removed.
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  }

  /** Gives back everything an owner has. */
  releaseOwner(owner: string): void {
    for (const lease of this.list()) if (lease.owner === owner) this.release(lease.address, owner);
  }

  /** All leases, in order of address. */
  list(): Lease[] {
    return this.#names().flatMap((name) => {
      const lease = this.#read(name);
      return lease === undefined ? [] : [lease];
    });
  }

  /**
   * Gives back what belongs to owners that are gone.
   *
   * @returns the leases that were removed
   */
  prune(isGone: (owner: string) => boolean): Lease[] {
    const gone = this.list().filter((lease) => isGone(lease.owner));
    for (const { address, owner } of gone) this.release(address, owner);
    return gone;
  }

  /** Removes the pool with all its leases from disk. Idempotent. */
  remove(): void {
    removeStateDirectory(this.#root, 'ipam', this.name, this.subnet.family);
    removeEmptyDirectory(join(this.#root, 'ipam', this.name));
  }

  #takeWanted(put: (number: bigint) => boolean, address: string): bigint {
    const number = addressNumber(address);
    const family = address.includes(':') ? 'inet6' : 'inet';
    if (family !== this.subnet.family || !contains(this.subnet, number))
      throw new SpecError('address', `an address of ${this.subnet.text}`, address);
    const { first, last } = hostRange(this.subnet);
    if (number < first || number > last)
      throw new SpecError('address', `an address a host of ${this.subnet.text} may have`, address);
    const keeper = this.#kept.get(number);
    if (keeper !== undefined) throw new AddressInUseError(address, keeper);
    if (!put(number))
      throw new AddressInUseError(address, this.#read(leaseName(number, this.subnet))?.owner ?? 'somebody else');
    return number;
  }

  #takeNext(put: (number: bigint) => boolean): bigint {
    const { first, last } = this.#range;
    // The next one is nearly always free; the directory is read when a few were not.
    let taken: ReadonlySet<string> | undefined;
    let misses = 0;
    // Another process may take what was free a moment ago: then the next one is tried, and at most all of them.
    const size = last - first + 1n;
    for (let tried = 0n, number = this.#next; tried < size; tried++, number = number >= last ? first : number + 1n) {
      if (this.#kept.has(number) || taken?.has(leaseName(number, this.subnet))) continue;
      if (!put(number)) {
        if (++misses === GUESSES) taken = new Set(this.#names());
        continue;
      }
      this.#next = number >= last ? first : number + 1n;
      return number;
    }
    throw new AddressPoolExhaustedError(this.name, this.subnet.text);
  }

  #link(number: bigint, owner: string, since: number): LeaseLink {
    return { path: this.#path(number), target: `${since}:${owner}` };
  }

  #path(number: bigint): string {
    return join(this.#directory, leaseName(number, this.subnet));
  }

  #names(): string[] {
    try {
      return fileCall(this.#directory, () => readdirSync(this.#directory)).sort();
    } catch (error) {
      // The network is being removed.
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    }
  }

  #read(name: string): Lease | undefined {
    try {
      const content = readlinkSync(join(this.#directory, name));
      const colon = content.indexOf(':');
      return {
        address: addressText(BigInt(`0x${name}`), this.subnet.family),
        prefixLength: this.subnet.prefixLength,
        owner: content.slice(colon + 1),
        since: Number(content.slice(0, colon)),
      };
    } catch (error) {
      // Given back since the directory was read.
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  #continueAfter(): bigint {
    const { first, last } = this.#range;
    const youngest = this.list().reduce<Lease | undefined>(
      (best, lease) => (best && best.since > lease.since ? best : lease),
      undefined,
    );
    if (!youngest) return first;
    const number = addressNumber(youngest.address);
    return number < first || number >= last ? first : number + 1n;
  }
}

function makeLink({ path, target }: LeaseLink): boolean {
  try {
    symlinkSync(target, path);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/** Hexadecimal of fixed width: the names sort like the addresses. */
function leaseName(number: bigint, subnet: Subnet): string {
  return number.toString(16).padStart(subnet.bits / 4, '0');
}

/** The other address family may still have a pool in it. */
function removeEmptyDirectory(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!hasCode(error, 'ENOTEMPTY', 'ENOENT')) throw error;
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}

function gatewayOf(subnet: Subnet, wanted: string | null | undefined): string | undefined {
  if (wanted === null) return undefined;
  if (wanted === undefined)
    return subnet.prefixLength === subnet.bits ? undefined : addressText(hostRange(subnet).first, subnet.family);
  const number = inSubnet(subnet, wanted, 'gateway');
  const { first, last } = hostRange(subnet);
  if (number < first || number > last)
    throw new SpecError('gateway', `an address a host of ${subnet.text} may have`, wanted);
  return addressText(number, subnet.family);
}

function rangeOf(subnet: Subnet, wanted: string | undefined): { first: bigint; last: bigint } {
  const hosts = hostRange(subnet);
  if (wanted === undefined) return hosts;
  const range = parseSubnet(wanted, 'range');
  if (range.family !== subnet.family || range.first < subnet.first || range.last > subnet.last) {
    throw new SpecError('range', `a part of ${subnet.text}`, wanted);
  }
  return {
    first: range.first > hosts.first ? range.first : hosts.first,
    last: range.last < hosts.last ? range.last : hosts.last,
  };
}

function keptBack(
  subnet: Subnet,
  gateway: string | undefined,
  auxiliary: Readonly<Record<string, string>>,
): Map<bigint, string> {
  const kept = new Map<bigint, string>();
  for (const [name, address] of Object.entries(auxiliary))
    kept.set(inSubnet(subnet, address, `auxiliaryAddresses.${name}`), name);
  if (gateway !== undefined) kept.set(addressNumber(gateway), 'the gateway');
  return kept;
}

function inSubnet(subnet: Subnet, address: string, field: string): bigint {
  const number = addressNumber(address, field);
  const family = address.includes(':') ? 'inet6' : 'inet';
  if (family !== subnet.family || !contains(subnet, number))
    throw new SpecError(field, `an address of ${subnet.text}`, address);
  return number;
}
