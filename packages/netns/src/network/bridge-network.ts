import { NsError, rollBack, SpecError } from '@ns/libc';
import type { EgressPolicy } from '../egress/egress-policy.ts';
import type { EgressOptions } from '../egress/egress-rule.ts';
import { checkEgress } from '../egress/policy-rules.ts';
import { LostNetworkError, NetworkExistsError, NetworkNotFoundError } from '../errors.ts';
import { Firewall } from '../firewall/firewall.ts';
import type { AddressPool } from '../ipam/address-pool.ts';
import { listClaims, releaseSubnets } from '../ipam/subnet-claims.ts';
import { remove as removeLink } from '../link/change.ts';
import { get as getLink, list as listLinks } from '../link/link.ts';
import type { InNetns, NetnsReference } from '../namespace-reference.ts';
import { checkStateName, removeStateDirectory, stateRoot } from '../state-directory.ts';
import { buildBridge } from './build-bridge.ts';
import { EntrustedNetwork } from './entrusted-network.ts';
import { NameService } from './name-service.ts';
import { type ConnectOptions, NetworkEndpoints } from './network-endpoints.ts';
import { type BridgeNetworkOptions, firewallNetwork, openPool, planNetwork } from './network-plan.ts';
import { NetworkPolicies } from './network-policies.ts';
import { type Endpoint, type NetworkRecord, NetworkState } from './network-state.ts';

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
 * Needs CAP_NET_ADMIN and CAP_SYS_ADMIN, and nft for the first network of a host.
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
  readonly #policies: NetworkPolicies;
  readonly #endpoints: NetworkEndpoints;
  #names: NameService | undefined;
  #removeOnDispose = false;
  #entrusted: EntrustedNetwork | undefined;

  private constructor(record: NetworkRecord, firewall: Firewall, root: string) {
    this.#record = record;
    this.#firewall = firewall;
    this.#netns = firewall.netns;
    this.#root = root;
    this.#state = new NetworkState(root);
    this.#pools = record.subnets.map((plan) => openPool(record.name, plan, root));
    this.#policies = new NetworkPolicies(firewall, record.bridge);
    this.#endpoints = new NetworkEndpoints({
      record,
      firewall,
      state: this.#state,
      pools: this.#pools,
      policies: this.#policies,
    });
  }

  /**
   * Makes a network. When a step fails, those before it are undone.
   *
   * @throws NsError ERR_NS_NETWORK_EXISTS; SubnetOverlapError; NoFreeSubnetError; NameServerTakenError; SpecError;
   * UnavailableError where /proc/sys is read-only
   */
  static async create(options: BridgeNetworkOptions): Promise<BridgeNetwork> {
    const name = checkStateName(options.name);
    const root = options.stateRoot ?? stateRoot();
    const state = new NetworkState(root);
    const existing = async () => {
      const record = await state.read(name);
      if (record && !record.stage) throw new NetworkExistsError(name);
      return record;
    };
    await existing();
    const entrusted = options.entrust && new EntrustedNetwork(options.entrust, root);
    entrusted?.isNamed(name);
    try {
      return await state.exclusively(name, async () => {
        // What a process has left that died while it made or removed it.
        const remains = await existing();
        if (remains) await (await BridgeNetwork.#at(remains, options.netns, root)).#tearDown();
        return BridgeNetwork.#make(options, state, root, entrusted);
      });
    } catch (error) {
      entrusted?.[Symbol.dispose]();
      throw error;
    }
  }

  static async #at(record: NetworkRecord, netns: NetnsReference | undefined, root: string): Promise<BridgeNetwork> {
    return new BridgeNetwork(record, await Firewall.open({ netns }), root);
  }

  static async #make(
    options: BridgeNetworkOptions,
    state: NetworkState,
    root: string,
    entrusted: EntrustedNetwork | undefined,
  ): Promise<BridgeNetwork> {
    let network: BridgeNetwork | undefined;
    try {
      entrusted?.isPlanned(options.name);
      const record = await planNetwork(options, root);
      const lost = await isLost(record, options.netns);
      entrusted?.isMade(record, options.netns);
      network = await BridgeNetwork.#at(record, options.netns, root);
      if (lost) {
        await network.#tearDown();
        return await BridgeNetwork.#make(options, state, root, entrusted);
      }
      network.#entrusted = entrusted;
      // Written first: what a crash leaves half made is found by it.
      await state.write({ ...record, stage: 'making' });
      await buildBridge(record, network.#pools, network.#firewall);
      await network.#policies.start(record, { isNew: true });
      await state.write(record);
      await network.#serveNames(options.upstreams);
      network.#names?.assertOurs();
      network.#removeOnDispose = true;
      return network;
    } catch (error) {
      const half = error instanceof LostNetworkError ? undefined : network;
      throw await rollBack(error, () => (half ? half.#tearDown() : forget(options.name, state, root)));
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
    const state = new NetworkState(root);
    if (!(await state.read(name))) throw new NetworkNotFoundError(name);
    return state.exclusively(name, async () => {
      const record = await state.read(name);
      if (!record) state.remove(name);
      if (!record || record.stage) throw new NetworkNotFoundError(name);
      const network = await BridgeNetwork.#at(record, options.netns, root);
      // After a reboot the records are there and the bridge is not.
      const isNew = !(await getLink(record.bridge, { netns: options.netns }));
      if (isNew) await buildBridge(record, network.#pools, network.#firewall);
      await network.#policies.start(record, { isNew });
      await network.#serveNames(options.upstreams);
      return network;
    });
  }

  /** The place that a container has in a network, read without opening that: its name server stays whose it is. */
  static endpoint(name: string, owner: string, options: { readonly stateRoot?: string } = {}): Endpoint | undefined {
    return new NetworkState(options.stateRoot ?? stateRoot()).endpoint(name, owner);
  }

  /** Removes a network without opening it, which would make anew what is missing: as much of it as there is. Idempotent. */
  static async tearDown(name: string, options: InNetns & { readonly stateRoot?: string } = {}): Promise<void> {
    const root = options.stateRoot ?? stateRoot();
    const state = new NetworkState(root);
    await state.exclusively(name, async () => {
      const record = await state.read(name);
      if (record) await (await BridgeNetwork.#at(record, options.netns, root)).#tearDown();
      else await forget(name, state, root);
    });
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

  /**
   * Removes networks whose process died while it made or removed them.
   *
   * @returns their names
   */
  static async pruneUnfinished(options: InNetns & { readonly stateRoot?: string } = {}): Promise<string[]> {
    const root = options.stateRoot ?? stateRoot();
    const state = new NetworkState(root);
    const isFinished = (record: NetworkRecord | undefined) => record !== undefined && record.stage === undefined;
    const pruned: string[] = [];
    const names = await state.names();
    for (const name of names) {
      if (isFinished(await state.read(name))) continue;
      const remove = async () => {
        const record = await state.read(name);
        if (isFinished(record)) return;
        if (record) await (await BridgeNetwork.#at(record, options.netns, root)).#tearDown();
        else await forget(name, state, root);
        pruned.push(name);
      };
      // Whoever holds it lives.
      await state.exclusively(name, remove, 0).catch(ignoreLocked);
    }
    // It may have died before it wrote what it was about to make, and the tables be in use until what is of others has gone.
    if (names.length > 0) await Firewall.removeUnused(options);
    return pruned;
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
    checkEgress(egress);
    const before = this.#record;
    // Written first: another process that serves the names must not open by the old rules what the new ones close.
    this.#record = { ...before, egress };
    await this.#state.write(this.#record);
    try {
      await this.egress.change(egress);
    } catch (error) {
      this.#record = before;
      throw await rollBack(error, () => this.#state.write(before));
    }
  }

  /**
   * Changes the policy of a container, connected by whatever process.
   *
   * @throws SpecError `egress`: it was connected without one
   */
  async changeEgressOf(owner: string, egress: EgressOptions): Promise<void> {
    await this.#endpoints.changeEgress(owner, egress);
  }

  /** Containers of the network. */
  async endpoints(): Promise<Endpoint[]> {
    return this.#state.endpoints(this.name);
  }

  /**
   * Connects a container, running or not started yet. When a step fails, those before it are undone.
   *
   * @throws AddressPoolExhaustedError, AddressInUseError, PortInUseError, SpecError, NameServerTakenError
   */
  async connect(options: ConnectOptions): Promise<Endpoint> {
    this.#names?.assertOurs();
    return this.#endpoints.connect(options);
  }

  /**
   * Gives a container, connected by whatever process, other names; its aliases stay. It is found by the new ones, and by those
   * before no more, from the next question on.
   *
   * @param names - asked for while nobody else renames it
   * @returns its place, undefined when it has none
   */
  async rename(owner: string, names: () => readonly string[]): Promise<Endpoint | undefined> {
    return this.#endpoints.rename(owner, names);
  }

  /** Disconnects a container; its link, addresses, ports and names go. Idempotent. */
  async disconnect(owner: string): Promise<void> {
    await this.#endpoints.disconnect(owner);
  }

  /**
   * Disconnects containers that are gone: what a crash left.
   *
   * @param isGone - asked for each owner
   */
  async prune(isGone: (owner: string) => boolean | Promise<boolean>): Promise<string[]> {
    return this.#endpoints.prune(isGone);
  }

  /** Disconnects everybody and removes bridge, rules, leases and records. Idempotent. */
  async remove(): Promise<void> {
    await this.#state.exclusively(this.name, async () => {
      if (await this.#state.read(this.name)) await this.#tearDown();
      else this.#state.remove(this.name);
    });
    await this.close();
  }

  /** Stops what runs in this process; the network stays. Idempotent. */
  async close(): Promise<void> {
    await this.#names?.close();
    this.#firewall.close();
    this.#endpoints.close();
  }

  /** {@link BridgeNetwork.remove} of a network that was made here, {@link BridgeNetwork.close} of one that was opened. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#removeOnDispose) await this.remove();
    else await this.close();
  }

  /** Undoes everything, however much of it there is. */
  async #tearDown(): Promise<void> {
    const { name, bridge } = this.record;
    await this.#state.write({ ...this.record, stage: 'removing' });
    await Promise.all((await this.endpoints()).map(({ owner }) => this.disconnect(owner)));
    await this.#policies.stop(this.record);
    await this.close();
    using firewall = await Firewall.open({ netns: this.#netns });
    firewall.removeNetwork(firewallNetwork(this.record));
    await removeLink(bridge, { netns: this.#netns, ifMissing: 'ignore' });
    await Firewall.removeUnused({ netns: this.#netns });
    this.#entrusted?.isUnmade();
    await forget(name, this.#state, this.#root);
    this.#entrusted?.[Symbol.dispose]();
  }

  async #serveNames(upstreams: readonly string[] | undefined): Promise<void> {
    this.#names = new NameService({
      network: this.name,
      netns: this.#netns,
      state: this.#state,
      listen: this.gateways,
      upstreams: this.record.internal ? [] : upstreams,
      policyFor: (client) => this.#policies.for(client),
      onRecords: (record, endpoints) => {
        this.#record = record;
        return this.#policies.follow(record, endpoints);
      },
    });
    await this.#names.start();
  }
}

/**
 * Is its bridge there, although the state knew nothing of it?
 *
 * @throws NsError ERR_NS_NETWORK_EXISTS: containers are on it
 */
async function isLost({ name, bridge }: NetworkRecord, netns: NetnsReference | undefined): Promise<boolean> {
  const links = await listLinks({ netns });
  const lost = links.find((link) => link.name === bridge);
  if (lost && links.some(({ master }) => master === bridge)) throw new LostNetworkError(name, bridge);
  return lost !== undefined;
}

/** The last of a network: its leases go, and its subnets are anybody's again. */
async function forget(name: string, state: NetworkState, root: string): Promise<void> {
  removeStateDirectory(root, 'ipam', name);
  await releaseSubnets(name, { stateRoot: root });
  state.remove(name);
}

function ignoreLocked(error: unknown): void {
  if (!(error instanceof NsError) || error.code !== 'ERR_NS_LOCK_TIMEOUT') throw error;
}
