import { existsSync } from 'node:fs';
import { SpecError } from '@ns/libc';
import { NetlinkError, type NetlinkSocket } from '@ns/netlink';
import { add as addAddress } from '../address.ts';
import { canonicalName } from '../dns/name-table.ts';
import { Resolver } from '../dns/resolver.ts';
import { EgressPolicy } from '../egress/egress-policy.ts';
import type { EgressOptions } from '../egress/egress-rule.ts';
import { NetworkExistsError, NetworkNotFoundError } from '../errors.ts';
import { Firewall } from '../firewall/firewall.ts';
import { findForwardingObstacles } from '../firewall/obstacles.ts';
import type { AddressPool } from '../ipam/address-pool.ts';
import { listClaims, releaseSubnets } from '../ipam/subnet-claims.ts';
import { remove as removeLink, setUp } from '../link/change.ts';
import { createBridge } from '../link/create.ts';
import { get as getLink, indexOf } from '../link/link.ts';
import { type InNetns, type NetnsReference, openSocket } from '../namespace-reference.ts';
import { NetNamespace } from '../net-namespace.ts';
import { parsePortSpec } from '../ports/port-spec.ts';
import { type PublishedPorts, publishPorts } from '../ports/publish-ports.ts';
import { checkStateName, stateRoot } from '../state-directory.ts';
import { setSync } from '../sysctl.ts';
import { type BridgeNetworkOptions, firewallNetwork, openPool, planNetwork } from './network-plan.ts';
import { digest, type Endpoint, type NetworkRecord, NetworkState } from './network-state.ts';
import { freeLinkName, LinkNameTakenError, macFor, plugContainer } from './plug-container.ts';
import { portsInForce } from './ports-in-force.ts';

/** How to connect a container. */
export interface ConnectOptions {
  /** Whose end it is: a container's id. */
  readonly owner: string;
  /** Network namespace of the container. */
  readonly netns: NetnsReference;
  /** Name of the link inside. Default: the first free of eth0, eth1, ... */
  readonly link?: string;
  readonly address?: string;
  readonly address6?: string;
  /** Default: made from the address, so that neighbours never remember a wrong one. */
  readonly mac?: string;
  /** Names others find it by. */
  readonly names?: readonly string[];
  /** Make this network the way out. Default true. */
  readonly defaultRoute?: boolean;
  /** Published ports in Docker's notation. */
  readonly ports?: readonly string[];
}

// Time a process has between claim and record.
const CLAIM_GRACE_MS = 60_000;
const PACKET_LOG_GROUPS_FROM = 20_000;
const TAKEOVER_INTERVAL_MS = 500;
const TICK_MS = 50;

/**
 * A bridge on the host that containers are connected to: addresses from pools on disk, masquerading, published ports, a
 * name server, an egress policy. What Docker calls a bridge network.
 *
 * The network is in the kernel and on disk and outlives this process; the name server and `::1` of published ports are
 * in the process that made or opened the network, until {@link BridgeNetwork.close}. Of several processes that have it
 * open one serves the names of all; when it ends, another goes on.
 *
 * Needs CAP_NET_ADMIN and CAP_SYS_ADMIN, and nft the first time.
 *
 * @example
 * await using network = await BridgeNetwork.create({ name: 'web' });
 * await using netns = await NetNamespace.create();
 * const endpoint = await network.connect({ owner: 'c1', netns, names: ['c1'], ports: ['8080:80'] });
 */
export class BridgeNetwork implements AsyncDisposable {
  #record: NetworkRecord;
  readonly #netns: NetnsReference | undefined;
  readonly #root: string;
  readonly #state: NetworkState;
  readonly #firewall: Firewall;
  readonly #pools: readonly AddressPool[];
  readonly #published = new Map<string, PublishedPorts>();
  #resolver: Resolver | undefined;
  #egress: EgressPolicy | undefined;
  #removeOnDispose = false;
  #takeover: NodeJS.Timeout | undefined;
  #namesFromMs = 0;
  // For changes on the side of the bridge; opened with the first.
  #socket: NetlinkSocket | undefined;
  #bridgeIndex: number | undefined;

  private constructor(record: NetworkRecord, firewall: Firewall, root: string) {
    this.#record = record;
    this.#firewall = firewall;
    this.#netns = firewall.netns;
    this.#root = root;
    this.#state = new NetworkState(root);
    this.#pools = record.subnets.map((plan) => openPool(record.name, plan, root));
  }

  /**
   * Makes a network. When a step fails, those before it are undone.
   *
   * @throws NsError ERR_NS_NETWORK_EXISTS; SubnetOverlapError; NoFreeSubnetError; SpecError
   */
  static async create(options: BridgeNetworkOptions): Promise<BridgeNetwork> {
    const name = checkStateName(options.name);
    const root = options.stateRoot ?? stateRoot();
    const state = new NetworkState(root);
    if (await state.read(name)) throw new NetworkExistsError(name);
    const firewall = await Firewall.open({ netns: options.netns });
    let network: BridgeNetwork | undefined;
    try {
      const record = await planNetwork(options, root);
      network = new BridgeNetwork(record, firewall, root);
      // Written first: what a crash leaves half made is found and removed by name.
      await state.write(record);
      await network.#build();
      await network.#startServices({ upstreams: options.upstreams, isNew: true });
      network.#removeOnDispose = true;
      return network;
    } catch (error) {
      if (network) await network.remove();
      else await releaseSubnets(name, { stateRoot: root });
      firewall.close();
      throw error;
    }
  }

  /**
   * Opens a network that exists, and serves its names from here if nobody does.
   *
   * @throws NsError ERR_NS_NETWORK_NOT_FOUND
   */
  static async open(
    name: string,
    options: InNetns & { readonly stateRoot?: string; readonly upstreams?: readonly string[] } = {},
  ): Promise<BridgeNetwork> {
    const root = options.stateRoot ?? stateRoot();
    const record = await new NetworkState(root).read(name);
    if (!record) throw new NetworkNotFoundError(name);
    const network = new BridgeNetwork(record, await Firewall.open({ netns: options.netns }), root);
    // After a reboot the records are there and the bridge is not.
    const isNew = !(await getLink(record.bridge, { netns: options.netns }));
    if (isNew) await network.#build();
    await network.#startServices({ upstreams: options.upstreams, isNew });
    return network;
  }

  /** Names of all networks. */
  static async list(options: { readonly stateRoot?: string } = {}): Promise<string[]> {
    return new NetworkState(options.stateRoot ?? stateRoot()).names();
  }

  /**
   * Releases subnets of networks that were never finished: their process died between the claim and the record.
   *
   * @returns the names they were claimed under
   */
  static async pruneClaims(options: { readonly stateRoot?: string } = {}): Promise<string[]> {
    const state = new NetworkState(options.stateRoot ?? stateRoot());
    const orphans = new Set<string>();
    for (const { name, since } of await listClaims(options)) {
      if (Date.now() - since > CLAIM_GRACE_MS && !(await state.read(name))) orphans.add(name);
    }
    for (const name of orphans) await releaseSubnets(name, options);
    return [...orphans];
  }

  /** What is kept about it. */
  get record(): NetworkRecord {
    return this.#record;
  }

  get name(): string {
    return this.record.name;
  }

  /** Gateways of the network, where its name server listens too. */
  get gateways(): string[] {
    return this.#pools.flatMap((pool) => pool.gateway ?? []);
  }

  /** The policy of {@link BridgeNetworkOptions.egress}. */
  get egress(): EgressPolicy | undefined {
    return this.#egress;
  }

  /**
   * Changes the policy, for all processes and for good.
   *
   * @throws SpecError `egress`: the network was made without one
   */
  async changeEgress(egress: EgressOptions): Promise<void> {
    if (!this.#egress) throw new SpecError('egress', 'nothing: the network was made without a policy', egress);
    await this.#egress.change(egress);
    this.#record = { ...this.#record, egress };
    await this.#state.write(this.#record);
  }

  /** Containers of the network. */
  async endpoints(): Promise<Endpoint[]> {
    return this.#state.endpoints(this.name);
  }

  /**
   * Connects a container, running or not started yet. When a step fails, those before it are undone.
   *
   * @throws AddressPoolExhaustedError, AddressInUseError, PortInUseError, SpecError
   */
  async connect(options: ConnectOptions): Promise<Endpoint> {
    const { owner } = options;
    const names = (options.names ?? []).map((name) => canonicalName(name, 'names'));
    const ports = (options.ports ?? []).flatMap((text) => parsePortSpec(text));
    if (this.#state.hasEndpoint(this.name, owner))
      throw new SpecError('owner', `somebody who is not connected to '${this.name}' yet`, owner);
    // A namespace that has a socket open already lends it.
    const borrowed = options.netns instanceof NetNamespace ? options.netns : undefined;
    const inside = borrowed ?? (await NetNamespace.open(options.netns));
    try {
      const { address, address6 } = this.#allocate(options);
      const mac = options.mac ?? macFor(address ?? address6!, owner);
      const hostLink = `nsv${digest(this.name, owner).slice(0, 12)}`;
      const link = options.link ?? 'eth0';
      let draft: Endpoint = { owner, link, hostLink, mac, address, address6, names, ports: [] };
      this.#state.writeEndpoint(this.name, draft);
      const wayOut = options.defaultRoute === false || this.record.internal ? [] : this.gateways;
      try {
        this.#plug(draft, inside, wayOut);
      } catch (error) {
        if (!(error instanceof LinkNameTakenError)) throw error;
        // Most containers have one network, so eth0 is tried without asking.
        if (options.link !== undefined) throw error.cause;
        draft = { ...draft, link: freeLinkName(inside) };
        this.#state.writeEndpoint(this.name, draft);
        this.#plug(draft, inside, wayOut);
      }
      if (ports.length === 0) return draft;
      const published = await publishPorts({
        ports,
        firewall: this.#firewall,
        ...addressesOf(draft),
        onReserved: (reserved) => this.#state.writeEndpoint(this.name, { ...draft, ports: reserved }),
      });
      this.#published.set(owner, published);
      return { ...draft, ports: published.ports };
    } catch (error) {
      await this.disconnect(owner);
      throw error;
    } finally {
      if (!borrowed) inside.close();
    }
  }

  /** Disconnects a container; its link, addresses, ports and names go. Idempotent. */
  async disconnect(owner: string): Promise<void> {
    const endpoint = this.#state.endpoint(this.name, owner);
    const published = this.#published.get(owner);
    this.#published.delete(owner);
    if (published) await published.close();
    // Ports that another process published.
    else if (endpoint && endpoint.ports.length > 0) this.#firewall.unpublish(portsInForce(this.#firewall, endpoint));
    if (endpoint) await removeLink(endpoint.hostLink, { netns: this.#netns, ifMissing: 'ignore' });
    for (const pool of this.#pools) {
      const address = pool.subnet.family === 'inet' ? endpoint?.address : endpoint?.address6;
      // Without a record a crash came in between, and only the leases tell.
      if (address === undefined) pool.releaseOwner(owner);
      else pool.release(address);
    }
    await this.#state.removeEndpoint(this.name, owner);
  }

  /**
   * Disconnects containers that are gone: what a crash left.
   *
   * @param isGone - asked for each owner
   */
  async prune(isGone: (owner: string) => boolean | Promise<boolean>): Promise<string[]> {
    const owners = new Set([
      ...(await this.endpoints()).map((endpoint) => endpoint.owner),
      ...this.#pools.flatMap((pool) => pool.list().map((lease) => lease.owner)),
    ]);
    const gone: string[] = [];
    for (const owner of owners) if (await isGone(owner)) gone.push(owner);
    for (const owner of gone) await this.disconnect(owner);
    this.#state.removeDrafts(this.name);
    for (const pool of this.#pools) pool.removeDrafts();
    return gone;
  }

  /** Disconnects everybody and removes bridge, rules, leases and records. Idempotent. */
  async remove(): Promise<void> {
    for (const { owner } of await this.endpoints()) await this.disconnect(owner);
    await this.#egress?.remove();
    await this.close();
    const firewall = await Firewall.open({ netns: this.#netns });
    firewall.removeNetwork(firewallNetwork(this.record));
    firewall.close();
    await removeLink(this.record.bridge, { netns: this.#netns, ifMissing: 'ignore' });
    for (const pool of this.#pools) pool.remove();
    await releaseSubnets(this.name, { stateRoot: this.#root });
    this.#state.remove(this.name);
  }

  /** Stops what runs in this process; the network stays. Idempotent. */
  async close(): Promise<void> {
    clearInterval(this.#takeover);
    await this.#resolver?.close();
    this.#resolver = undefined;
    this.#firewall.close();
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** {@link BridgeNetwork.remove} of a network that was made here, {@link BridgeNetwork.close} of one that was opened. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#removeOnDispose) await this.remove();
    else await this.close();
  }

  #plug(endpoint: Endpoint, inside: NetNamespace, wayOut: readonly string[]): void {
    this.#socket ??= openSocket(this.#netns);
    const socket = this.#socket;
    const { bridge } = this.record;
    const plug = (bridgeIndex: number): void =>
      plugContainer({ socket, bridgeIndex, record: this.record, pools: this.#pools }, endpoint, inside, wayOut);
    const known = this.#bridgeIndex;
    this.#bridgeIndex = known ?? indexOf(socket, bridge);
    try {
      plug(this.#bridgeIndex);
    } catch (error) {
      if (known === undefined || !(error instanceof NetlinkError)) throw error;
      // Another process may have made the bridge anew.
      this.#bridgeIndex = indexOf(socket, bridge);
      if (this.#bridgeIndex === known) throw error;
      plug(this.#bridgeIndex);
    }
  }

  async #build(): Promise<void> {
    const { bridge, mtu } = this.record;
    const netns = this.#netns;
    // A bridge without an address of its own takes the lowest of its ports, and changes it under the feet of the containers
    // that remember it when that port goes.
    await createBridge({ name: bridge, mtu, netns, mac: macFor(this.gateways[0] ?? '::', bridge) });
    // The bridge answers for its addresses from the start: nobody else can have them.
    if (existsInside(netns, `net/ipv6/conf/${bridge}/accept_dad`))
      setSync(`net/ipv6/conf/${bridge}/accept_dad`, 0, { netns });
    for (const pool of this.#pools) {
      if (pool.gateway !== undefined)
        await addAddress(bridge, `${pool.gateway}/${pool.subnet.prefixLength}`, {
          netns,
          nodad: pool.subnet.family === 'inet6',
        });
    }
    await setUp(bridge, { netns });
    this.#firewall.addNetwork(firewallNetwork(this.record));
    if (!this.record.internal) this.#warnOfObstacles();
  }

  /** Rules of others are never changed; that they keep our packets back is said, with what would let them through. */
  #warnOfObstacles(): void {
    for (const { why, fix } of findForwardingObstacles(this.record.bridge, { netns: this.#netns }))
      process.emitWarning(`network '${this.name}' does not get through: ${why}`, {
        code: 'NS_NETWORK_BLOCKED',
        detail: `To let it through: ${fix.join('; ')}`,
      });
  }

  async #startServices(options: { upstreams: readonly string[] | undefined; isNew: boolean }): Promise<void> {
    const { bridge, egress } = this.record;
    if (egress) {
      const { index } = (await getLink(bridge, { netns: this.#netns }))!;
      const logGroup = PACKET_LOG_GROUPS_FROM + (index % 40_000);
      const place = { firewall: this.#firewall, bridge, logGroup };
      this.#egress = options.isNew
        ? await EgressPolicy.apply({ ...place, policy: egress })
        : EgressPolicy.attach({ ...place, policy: egress });
    }
    if (await this.#serveNames(options.upstreams)) return;
    // When the process that does ends, whatever it dies of, one of the others goes on.
    this.#takeover = setInterval(async () => {
      if (await this.#serveNames(options.upstreams).catch(() => false)) clearInterval(this.#takeover);
    }, TAKEOVER_INTERVAL_MS).unref();
  }

  /** False: another process serves the network's names. */
  async #serveNames(upstreams: readonly string[] | undefined): Promise<boolean> {
    try {
      this.#resolver = await Resolver.start({
        netns: this.#netns,
        listen: this.gateways,
        ...(this.record.internal ? { upstreams: [] } : upstreams === undefined ? {} : { upstreams }),
        ...(this.#egress === undefined ? {} : { policy: this.#egress }),
        refresh: () => this.#readRecords(),
      });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      return false;
    }
  }

  /** Names and policy as they are on disk, where all processes of the network write. */
  async #readRecords(): Promise<void> {
    const changedMs = this.#state.changedAtMs(this.name);
    if (changedMs === this.#namesFromMs) return;
    const record = await this.#state.read(this.name);
    const endpoints = await this.endpoints();
    const table = this.#resolver?.names;
    if (!table || !record) return;
    // File systems count time in ticks: what is written in the same one would go unseen.
    this.#namesFromMs = Date.now() - changedMs > TICK_MS ? changedMs : 0;
    if (record.egress && JSON.stringify(record.egress) !== JSON.stringify(this.record.egress))
      this.#egress?.follow(record.egress);
    this.#record = record;
    table.clear();
    for (const { owner, names, address, address6 } of endpoints)
      for (const name of names)
        for (const one of [address, address6]) if (one !== undefined) table.add(owner, name, one);
  }

  #allocate({ owner, address, address6 }: ConnectOptions): {
    address: string | undefined;
    address6: string | undefined;
  } {
    const take = (family: 'inet' | 'inet6', wanted: string | undefined): string | undefined => {
      const pool = this.#pools.find((one) => one.subnet.family === family);
      if (!pool && wanted !== undefined)
        throw new SpecError(
          family === 'inet' ? 'address' : 'address6',
          `nothing: network '${this.name}' has no such subnet`,
          wanted,
        );
      return pool?.allocate(owner, { address: wanted }).address;
    };
    return { address: take('inet', address), address6: take('inet6', address6) };
  }
}

function addressesOf({ address, address6 }: Endpoint): { address?: string; address6?: string } {
  return { ...(address === undefined ? {} : { address }), ...(address6 === undefined ? {} : { address6 }) };
}

function existsInside(netns: NetnsReference | undefined, name: string): boolean {
  // Either all namespaces have IPv6 or none: it is a matter of the kernel.
  return netns === undefined ? existsSync(`/proc/sys/${name}`) : existsSync('/proc/sys/net/ipv6');
}
