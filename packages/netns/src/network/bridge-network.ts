import { SpecError } from '@ns/libc';
import { canonicalName } from '../dns/name-table.ts';
import type { EgressPolicy } from '../egress/egress-policy.ts';
import type { EgressOptions } from '../egress/egress-rule.ts';
import { NetworkExistsError, NetworkNotFoundError } from '../errors.ts';
import { Firewall } from '../firewall/firewall.ts';
import type { AddressPool } from '../ipam/address-pool.ts';
import { listClaims, releaseSubnets } from '../ipam/subnet-claims.ts';
import { remove as removeLink } from '../link/change.ts';
import { get as getLink } from '../link/link.ts';
import type { InNetns, NetnsReference } from '../namespace-reference.ts';
import { NetNamespace } from '../net-namespace.ts';
import { parsePortSpec } from '../ports/port-spec.ts';
import { type PublishedPorts, publishPorts } from '../ports/publish-ports.ts';
import { checkStateName, stateRoot } from '../state-directory.ts';
import { BridgeSide } from './bridge-side.ts';
import { buildBridge } from './build-bridge.ts';
import { NameService } from './name-service.ts';
import { type BridgeNetworkOptions, firewallNetwork, openPool, planNetwork } from './network-plan.ts';
import { isPoliced, NetworkPolicies } from './network-policies.ts';
import { digest, type Endpoint, type NetworkRecord, NetworkState } from './network-state.ts';
import { freeLinkName, LinkNameTakenError, macFor } from './plug-container.ts';
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
  /**
   * What this container may connect to, its neighbours on the network included. What the network's own policy refuses
   * stays refused. Needs CONFIG_NF_TABLES_BRIDGE. Left out, what the network may.
   */
  readonly egress?: EgressOptions;
}

// Time a process has between claim and record.
const CLAIM_GRACE_MS = 60_000;

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
  readonly #policies: NetworkPolicies;
  readonly #bridge: BridgeSide;
  #names: NameService | undefined;
  #removeOnDispose = false;

  private constructor(record: NetworkRecord, firewall: Firewall, root: string) {
    this.#record = record;
    this.#firewall = firewall;
    this.#netns = firewall.netns;
    this.#root = root;
    this.#state = new NetworkState(root);
    this.#pools = record.subnets.map((plan) => openPool(record.name, plan, root));
    this.#policies = new NetworkPolicies(firewall, record.bridge);
    this.#bridge = new BridgeSide(firewall.netns, record, this.#pools);
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
      await buildBridge(record, network.#pools, firewall);
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
    if (isNew) await buildBridge(record, network.#pools, network.#firewall);
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
    return this.#policies.ofNetwork;
  }

  /** The policy of {@link ConnectOptions.egress}, of a container that was connected here. */
  egressOf(owner: string): EgressPolicy | undefined {
    return this.#policies.ofContainer(owner);
  }

  /**
   * Changes the policy, for all processes and for good.
   *
   * @throws SpecError `egress`: the network was made without one
   */
  async changeEgress(egress: EgressOptions): Promise<void> {
    if (!this.egress) throw new SpecError('egress', 'nothing: the network was made without a policy', egress);
    await this.egress.change(egress);
    this.#record = { ...this.#record, egress };
    await this.#state.write(this.#record);
  }

  /**
   * Changes the policy of a container, connected by whatever process.
   *
   * @throws SpecError `egress`: it was connected without one
   */
  async changeEgressOf(owner: string, egress: EgressOptions): Promise<void> {
    const endpoint = this.#state.endpoint(this.name, owner);
    if (!endpoint || !isPoliced(endpoint))
      throw new SpecError('egress', 'nothing: the container was connected without a policy', egress);
    await this.#policies.change(endpoint, egress);
    this.#state.writeEndpoint(this.name, { ...endpoint, egress });
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
    const { owner, egress } = options;
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
      let draft: Endpoint = { owner, link, hostLink, mac, address, address6, names, ports: [], egress };
      this.#state.writeEndpoint(this.name, draft);
      if (isPoliced(draft)) await this.#policies.prepare(draft, this.record);
      const wayOut = options.defaultRoute === false || this.record.internal ? [] : this.gateways;
      try {
        this.#bridge.plug(draft, inside, wayOut);
      } catch (error) {
        if (!(error instanceof LinkNameTakenError)) throw error;
        // Most containers have one network, so eth0 is tried without asking.
        if (options.link !== undefined) throw error.cause;
        draft = { ...draft, link: freeLinkName(inside) };
        this.#state.writeEndpoint(this.name, draft);
        this.#bridge.plug(draft, inside, wayOut);
      }
      if (isPoliced(draft)) await this.#policies.add(draft);
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
    if (endpoint && isPoliced(endpoint)) await this.#policies.remove(endpoint);
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
    await this.egress?.remove();
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
    await this.#names?.close();
    this.#firewall.close();
    this.#bridge.close();
  }

  /** {@link BridgeNetwork.remove} of a network that was made here, {@link BridgeNetwork.close} of one that was opened. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#removeOnDispose) await this.remove();
    else await this.close();
  }

  async #startServices(options: { upstreams: readonly string[] | undefined; isNew: boolean }): Promise<void> {
    await this.#policies.start(this.record, options);
    this.#names = new NameService({
      network: this.name,
      netns: this.#netns,
      state: this.#state,
      listen: this.gateways,
      upstreams: this.record.internal ? [] : options.upstreams,
      policyFor: (client) => this.#policies.for(client),
      onRecords: (record, endpoints) => {
        this.#record = record;
        return this.#policies.follow(record, endpoints);
      },
    });
    await this.#names.start();
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
