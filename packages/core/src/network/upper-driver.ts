import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode, rollBack, SpecError, stateRoot, withDirectoryLockSync } from '@ns/libc';
import {
  AddressPool,
  address as addresses,
  type ConnectOptions,
  type EgressOptions,
  type Endpoint,
  type LeaseLink,
  link,
  macFor,
  NetNamespace,
  type NetworkRecord,
  parseSubnet,
  route,
} from '@ns/netns';
import { stateDirectory } from '../state-root.ts';
import { withoutUndefined } from '../without-undefined.ts';
import type { NetworkBackend, NetworkDriver } from './network-driver.ts';
import type { NetworkOptions } from './network-options.ts';

/** Containers as machines of the network that a link of the host is in: macvlan and ipvlan. */
export const driver: NetworkDriver = {
  async create(options) {
    refuse(options);
    const { parent, subnet } = options;
    if (parent === undefined || !(await link.get(parent)))
      throw new SpecError('parent', 'the name of a link of the host', parent);
    if (options.mode !== undefined) oneOf<string>(modes[options.driver as keyof typeof modes], options.mode);
    if (options.ipv6 === true)
      throw new SpecError('ipv6', `{ subnet }, that of the network that ${parent} is in`, options.ipv6);
    if (subnet === undefined) throw new SpecError('subnet', `the subnet of the network that ${parent} is in`, subnet);
    if (options.ipv6 && parseSubnet(options.ipv6.subnet, 'ipv6.subnet').family !== 'inet6')
      throw new SpecError('ipv6.subnet', 'an IPv6 subnet', options.ipv6.subnet);
    if (options.ipv6 !== undefined && parseSubnet(subnet).family === 'inet6')
      throw new SpecError('subnet', "an IPv4 subnet beside 'ipv6'", subnet);
    return new UpperNetwork(options);
  },
  open: async (options) => new UpperNetwork(options),
  endpoint: (options, owner) => new UpperNetwork(options).endpoint(owner),
};

/** What `mode` may be; the first is the default. */
const modes = {
  macvlan: ['bridge', 'private', 'vepa', 'passthru'],
  ipvlan: ['l2', 'l3', 'l3s'],
} as const;

/** Such a network is not ours: nothing of the host stands between it and its containers. */
function refuse(options: NetworkOptions): void {
  for (const field of ['egress', 'internal', 'icc', 'masquerade'] as const)
    if (options[field] !== undefined)
      throw new SpecError(field, `nothing with driver '${options.driver}'`, options[field], "driver: 'bridge' has it");
}

class UpperNetwork implements NetworkBackend {
  readonly record: NetworkRecord;
  /** A name server is the other network's business. */
  readonly gateways: string[] = [];
  readonly egress = undefined;
  readonly #options: NetworkOptions;
  readonly #pools: readonly AddressPool[];
  /** What goes when this process is killed, by owner. */
  readonly #entrusted = new Map<string, Disposable>();

  constructor(options: NetworkOptions) {
    const { name, parent, subnet, gateway, ipRange, auxAddresses, ipv6, mtu = 1500, labels = {} } = options;
    this.#options = options;
    const plans = [
      withoutUndefined({ subnet: subnet!, gateway, range: ipRange, auxiliaryAddresses: auxAddresses }),
      ...(typeof ipv6 === 'object' ? [ipv6] : []),
    ];
    this.#pools = plans.map((plan) => AddressPool.open({ name, stateRoot: stateRoot(), ...plan }));
    this.record = {
      name,
      bridge: parent!,
      subnets: plans.map((plan) => ({ ...plan, subnet: parseSubnet(plan.subnet).text })),
      internal: false,
      icc: true,
      masquerade: false,
      mtu,
      egress: undefined,
      created: Date.now(),
      labels,
    };
  }

  async connect(options: ConnectOptions): Promise<Endpoint> {
    const { owner, names = [], aliases = [], ports = [], mac, defaultRoute = true } = options;
    if (ports.length > 0)
      throw new SpecError(
        'ports',
        `nothing: on network '${this.record.name}' the container has an address of its own`,
        ports,
      );
    using inside = await NetNamespace.open(options.netns);
    const taken = (await link.list({ netns: inside })).map((one) => one.name);
    const name = options.link ?? firstFree(taken);
    const leases = new Map<AddressPool, LeaseLink>();
    const onAttempt = (pool: AddressPool, lease: LeaseLink) => {
      leases.set(pool, lease);
      const before = this.#entrusted.get(owner);
      const entrusted = options.entrust?.({ links: [...leases.values()], files: this.#memberFiles(owner) });
      if (entrusted) this.#entrusted.set(owner, entrusted);
      before?.[Symbol.dispose]();
    };
    try {
      const [address, address6] = (['inet', 'inet6'] as const).map((family) => {
        const pool = this.#pools.find((one) => one.subnet.family === family);
        const wanted = family === 'inet' ? options.address : options.address6;
        if (!pool && wanted !== undefined)
          throw new SpecError('address', `nothing: network '${this.record.name}' has no such subnet`, wanted);
        return pool?.allocate(owner, { address: wanted, onAttempt: (lease) => onAttempt(pool, lease) }).address;
      });
      const made = await this.#createLink(name, mac ?? this.#macFor(address ?? address6!, owner), inside);
      const endpoint: Endpoint = {
        owner,
        link: name,
        // There is none that is the container's alone.
        hostLink: '',
        mac: made.mac ?? '',
        address,
        address6,
        names: [...new Set([...names, ...aliases])],
        ...(aliases.length > 0 && { aliases }),
        ports: [],
      };
      for (const pool of this.#pools) {
        const own = pool.subnet.family === 'inet' ? address! : address6!;
        await onceVacated(() => addresses.add(name, `${own}/${pool.subnet.prefixLength}`, { netns: inside }));
      }
      await onceVacated(() => link.setUp(name, { netns: inside }));
      if (defaultRoute)
        for (const { gateway } of this.#pools)
          if (gateway !== undefined) await route.replace({ to: 'default', via: gateway, link: name, netns: inside });
      this.#write(endpoint);
      return endpoint;
    } catch (error) {
      throw await rollBack(error, async () => {
        try {
          await link.remove(name, { netns: inside, ifMissing: 'ignore' });
        } finally {
          await this.disconnect(owner);
        }
      });
    }
  }

  async disconnect(owner: string): Promise<void> {
    for (const pool of this.#pools) pool.releaseOwner(owner);
    withDirectoryLockSync(this.#directory, () => rmSync(this.#memberFile(owner), { force: true }));
    this.#entrusted.get(owner)?.[Symbol.dispose]();
    this.#entrusted.delete(owner);
  }

  async rename(owner: string, names: () => readonly string[]): Promise<Endpoint | undefined> {
    return withDirectoryLockSync(this.#directory, () => {
      const now = this.endpoint(owner);
      if (!now) return undefined;
      const renamed = { ...now, names: [...new Set([...names(), ...(now.aliases ?? [])])] };
      this.#write(renamed);
      return renamed;
    });
  }

  async changeEgress(egress: EgressOptions): Promise<void> {
    throw new SpecError('egress', `nothing with driver '${this.#options.driver}'`, egress);
  }

  egressOf(): undefined {}

  changeEgressOf(_owner: string, egress: EgressOptions): Promise<void> {
    return this.changeEgress(egress);
  }

  endpoint(owner: string): Endpoint | undefined {
    const file = this.#memberFile(owner);
    return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Endpoint) : undefined;
  }

  async endpoints(): Promise<Endpoint[]> {
    return readdirSync(this.#directory)
      .filter((file) => file.endsWith('.json'))
      .map((file) => JSON.parse(readFileSync(join(this.#directory, file), 'utf8')) as Endpoint);
  }

  async prune(isGone: (owner: string) => boolean | Promise<boolean>): Promise<string[]> {
    const owners = new Set(this.#pools.flatMap((pool) => pool.list().map((lease) => lease.owner)));
    const gone: string[] = [];
    for (const owner of owners) if (await isGone(owner)) gone.push(owner);
    for (const owner of gone) await this.disconnect(owner);
    return gone;
  }

  async remove(): Promise<void> {
    for (const pool of this.#pools) pool.remove();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async close(): Promise<void> {}

  #write(endpoint: Endpoint): void {
    const [draft, file] = this.#memberFiles(endpoint.owner);
    writeFileSync(draft, JSON.stringify(endpoint), { mode: 0o600 });
    renameSync(draft, file);
  }

  #memberFile(owner: string): string {
    return join(this.#directory, `${owner}.json`);
  }

  #memberFiles(owner: string): [draft: string, file: string] {
    return [`${this.#memberFile(owner)}.draft`, this.#memberFile(owner)];
  }

  get #directory(): string {
    return stateDirectory('network-members', this.record.name);
  }

  /**
   * A macvlan's is made of its address: neighbours that knew the one before it by that address reach the next one at once. An
   * ipvlan, and a macvlan that takes all of its parent, have the parent's.
   */
  #macFor(address: string, owner: string): string | undefined {
    return this.#options.driver === 'macvlan' && this.#options.mode !== 'passthru' ? macFor(address, owner) : undefined;
  }

  #createLink(name: string, mac: string | undefined, target: NetNamespace): ReturnType<typeof link.createMacvlan> {
    const { driver: kind, mode, mtu } = this.#options;
    const common = { name, parent: this.record.bridge, target, ...withoutUndefined({ mac, mtu }) };
    return kind === 'macvlan'
      ? link.createMacvlan({ ...common, mode: oneOf(modes.macvlan, mode ?? 'bridge') })
      : link.createIpvlan({ ...common, mode: oneOf(modes.ipvlan, mode ?? 'l2') });
  }
}

/**
 * Does something that takes an address of its own on the parent link. Who had it before keeps it until the kernel has cleared up
 * his network namespace, some time after its last process is gone.
 */
async function onceVacated(act: () => Promise<void>): Promise<void> {
  for (const begin = performance.now(); ; await delay(5)) {
    try {
      return await act();
    } catch (error) {
      if (!hasCode(error, 'EADDRINUSE') || performance.now() - begin > VACATING_MS) throw error;
    }
  }
}

/** The kernel clears up network namespaces in milliseconds, one group after the other; many at once take longer. */
const VACATING_MS = 5000;

function oneOf<const Mode extends string>(modes: readonly Mode[], mode: string): Mode {
  const found = modes.find((one) => one === mode);
  if (found === undefined) throw new SpecError('mode', `one of ${modes.join(', ')}`, mode);
  return found;
}

function firstFree(taken: readonly string[]): string {
  for (let number = 0; ; number++) if (!taken.includes(`eth${number}`)) return `eth${number}`;
}
