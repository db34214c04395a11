import { hash, randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileCall } from '@ns/libc';
import { list as listAddresses } from '../address.ts';
import { NoFreeSubnetError, SubnetOverlapError } from '../errors.ts';
import { withFileLock } from '../file-lock.ts';
import type { InNetns } from '../namespace-reference.ts';
import { list as listRoutes } from '../route.ts';
import {
  checkStateName,
  readJson,
  removeOldDrafts,
  stateDirectory,
  stateRoot,
  writeJsonSync,
} from '../state-directory.ts';
import { overlaps, parseSubnet, type Subnet, subnetAround, subnetFrom } from './subnet.ts';

/** Subnets to give to networks that name none: Docker's, without the first, which Docker's own default bridge has. */
export const defaultPools: readonly { readonly base: string; readonly prefixLength: number }[] = [
  { base: '172.18.0.0/15', prefixLength: 16 },
  { base: '172.20.0.0/14', prefixLength: 16 },
  { base: '172.24.0.0/13', prefixLength: 16 },
  { base: '192.168.0.0/16', prefixLength: 20 },
];

/** A subnet somebody has. */
export interface SubnetInUse {
  readonly subnet: Subnet;
  /** Who, in words: `network 'web'`, `a route of this host`. */
  readonly by: string;
}

/** A subnet that is reserved for a network. */
export interface SubnetClaim {
  readonly name: string;
  readonly subnet: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** Options of {@link claimSubnet}. */
export interface ClaimOptions extends InNetns {
  /** Name of the network. */
  readonly name: string;
  /** A certain subnet; otherwise a free one is chosen. */
  readonly subnet?: string | undefined;
  /** Which kind to choose. Default `inet`. */
  readonly family?: 'inet' | 'inet6';
  readonly pools?: typeof defaultPools;
  readonly stateRoot?: string;
}

/**
 * Reserves a subnet for a network: one that overlaps no other network's, and no address or route of the host. Several
 * processes may do this at once. The claim is a file of the state root and stays until {@link releaseSubnets}.
 *
 * A chosen IPv6 subnet is a /64 with a random unique local prefix (RFC 4193).
 *
 * @throws SubnetOverlapError, NoFreeSubnetError, SpecError
 */
export async function claimSubnet(options: ClaimOptions): Promise<Subnet> {
  const { name, family = 'inet', pools = defaultPools } = options;
  checkStateName(name);
  const wanted = options.subnet === undefined ? undefined : parseSubnet(options.subnet);
  const directory = stateDirectory(options.stateRoot ?? stateRoot(), 'subnets');
  return withFileLock(join(directory, '.lock'), async () => {
    removeOldDrafts(directory);
    // A claim of the same name is what a crash left of an earlier attempt.
    const others = (await readClaims(directory)).filter((claim) => claim.name !== name);
    const networks = others.map((claim) => ({ subnet: parseSubnet(claim.subnet), by: `network '${claim.name}'` }));
    const taken = [...networks, ...(await subnetsOfHost(options))];
    const subnet = wanted ? checked(wanted, taken) : family === 'inet6' ? randomUla(taken) : firstFree(pools, taken);
    writeJsonSync(join(directory, claimFile(name, subnet.family)), { name, subnet: subnet.text, since: Date.now() });
    return subnet;
  });
}

/** Gives the subnets of a network back. Idempotent. */
export async function releaseSubnets(name: string, options: { readonly stateRoot?: string } = {}): Promise<void> {
  for (const path of claimPaths(name, options.stateRoot ?? stateRoot())) await rm(path, { force: true });
}

/** The files of a network's claims, of either family. */
export function claimPaths(name: string, root: string): string[] {
  return ['inet', 'inet6'].map((family) => join(root, 'subnets', claimFile(name, family)));
}

/** Subnets of the addresses and routes of a network namespace, but for those that mean everything. */
export async function subnetsOfHost(options: InNetns): Promise<SubnetInUse[]> {
  const routes = await listRoutes({ netns: options.netns, table: 'all' });
  const addresses = await listAddresses({ netns: options.netns });
  const targets = routes
    .filter(
      (route) =>
        route.to !== 'default' && ['unicast', 'local', 'blackhole', 'unreachable', 'prohibit'].includes(route.kind),
    )
    .map((route) => ({
      subnet: subnetAround(withLength(route.to)),
      by: `a route of this host${route.link ? ` (${route.link})` : ''}`,
    }));
  const own = addresses.map((address) => ({
    subnet: subnetAround(`${address.address}/${address.prefixLength}`),
    by: `link ${address.link} of this host`,
  }));
  // A default route in two halves (0.0.0.0/1, 128.0.0.0/1) is how VPNs write one, and would forbid everything.
  return [...targets, ...own].filter(({ subnet }) => subnet.prefixLength > 1);
}

function withLength(destination: string): string {
  if (destination.includes('/')) return destination;
  return `${destination}/${destination.includes(':') ? 128 : 32}`;
}

/** All claims on disk. One whose network is not there is what a crash left: {@link releaseSubnets} removes it. */
export async function listClaims(options: { readonly stateRoot?: string } = {}): Promise<SubnetClaim[]> {
  return readClaims(stateDirectory(options.stateRoot ?? stateRoot(), 'subnets'));
}

async function readClaims(directory: string): Promise<SubnetClaim[]> {
  const files = (await fileCall(directory, () => readdir(directory))).filter((file) => file.endsWith('.json'));
  const claims = await Promise.all(files.map((file) => readJson(join(directory, file))));
  return claims.filter((claim) => claim !== undefined) as SubnetClaim[];
}

/** Names differ where a file system that ignores case would not tell. */
function claimFile(name: string, family: string): string {
  return `${hash('sha256', name, 'hex').slice(0, 32)}.${family}.json`;
}

function checked(subnet: Subnet, taken: readonly SubnetInUse[]): Subnet {
  const other = taken.find((one) => overlaps(one.subnet, subnet));
  if (other) throw new SubnetOverlapError(subnet.text, other.subnet.text, other.by);
  return subnet;
}

function firstFree(pools: typeof defaultPools, taken: readonly SubnetInUse[]): Subnet {
  for (const pool of pools) {
    const base = parseSubnet(pool.base, 'pools.base');
    const step = 1n << BigInt(base.bits - pool.prefixLength);
    for (let first = base.first; first < base.last; first += step) {
      const candidate = subnetFrom(base.family, first, pool.prefixLength);
      if (!taken.some((one) => overlaps(one.subnet, candidate))) return candidate;
    }
  }
  throw new NoFreeSubnetError(pools.map((pool) => pool.base));
}

function randomUla(taken: readonly SubnetInUse[]): Subnet {
  for (;;) {
    const global = BigInt(`0x${randomBytes(5).toString('hex')}`);
    const candidate = subnetFrom('inet6', (0xfdn << 120n) | (global << 80n), 64);
    if (!taken.some((one) => overlaps(one.subnet, candidate))) return candidate;
  }
}
