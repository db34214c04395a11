import { isAlive, NsError, ownTurn, SpecError } from '@ns/libc';
import type { EgressOptions, Endpoint } from '@ns/netns';
import { findState } from '../container-state.ts';
import { ContainerStateError } from '../errors.ts';
import { isOfOthers } from '../namespaces-of-others.ts';
import { type Patience, patientlyInTurn, patientlyMade } from '../patience.ts';
import { isExiting, isOurs } from '../process-identity.ts';
import type { ContainerSpec } from '../types.ts';
import { checkCall } from '../validate-calls.ts';
import { liveNetworks } from './live-networks.ts';
import type { NetworkOptions } from './network-options.ts';
import { type NetworkAttachment, reservedNames } from './network-spec.ts';
import { storedNames } from './network-store.ts';
import { existing, holdNetwork, makeNetwork, type NetworkHold } from './opened-networks.ts';
import { goneOwners } from './owner-mark.ts';
import { checkConnectOptions, checkNetworkOptions } from './validate-network.ts';

/** What a network is: {@link Network.inspect}. */
export interface NetworkInfo {
  readonly name: string;
  readonly driver: NonNullable<NetworkOptions['driver']>;
  /** IPv4 first. */
  readonly subnets: readonly { readonly subnet: string; readonly gateway: string | undefined }[];
  /** Link of the host that containers are connected to: a bridge, or the parent. */
  readonly link: string;
  /** Leads nowhere outside. */
  readonly internal: boolean;
  /** May its containers reach each other? */
  readonly icc: boolean;
  /** Bytes. */
  readonly mtu: number;
  readonly egress: EgressOptions | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: Date;
  readonly containers: readonly NetworkMember[];
}

/** A container's place in a network. */
export interface NetworkMember extends Omit<Endpoint, 'owner'> {
  /** Of the container. */
  readonly id: string;
}

/** Containers are on a network that was to be removed. Code `ERR_NS_NETWORK_IN_USE`. */
export class NetworkInUseError extends NsError {
  /** Their ids. */
  readonly containers: readonly string[];

  constructor(name: string, containers: readonly string[]) {
    const short = containers.map((id) => id.slice(0, 12)).join(', ');
    super('ERR_NS_NETWORK_IN_USE', `network '${name}' has containers: ${short}`, {
      hint: 'Disconnect or remove them first, or remove({ force: true })',
    });
    this.containers = containers;
  }
}

/**
 * A network for containers, with Docker's meanings. It is in the kernel and under the state root, and outlives this
 * process; what is in the process that has it open is its name server, the proxy for `::1`, and the events of refused
 * connections.
 *
 * Needs root, and `nft` for the first network of the machine and for egress policies.
 *
 * @example
 * ```ts
 * await using network = await Network.create({ name: 'shop' });
 * await using db = await Container.create({ command: ['redis-server'], name: 'db', network });
 * await using web = await Container.create({ command: ['node', 'web.js'], network, ports: ['8080:80'] });
 * ```
 */
export class Network implements AsyncDisposable {
  readonly name: string;
  readonly #hold: NetworkHold;
  readonly #madeHere: boolean;

  private constructor(hold: NetworkHold, { madeHere }: { madeHere: boolean }) {
    this.name = hold.network.name;
    this.#hold = hold;
    this.#madeHere = madeHere;
  }

  /**
   * Makes a network. When a step fails, those before it are undone.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC`
   * @throws NsError `ERR_NS_NETWORK_EXISTS`, `ERR_NS_SUBNET_OVERLAP`, `ERR_NS_NO_FREE_SUBNET`, `ERR_NS_NAME_SERVER_TAKEN`
   * @throws UnavailableError the kernel lacks the driver, or the machine nft
   */
  static async create(options: NetworkOptions, patience: Patience = {}): Promise<Network> {
    const checked = checkNetworkOptions(options);
    if (reservedNames.includes(checked.name))
      throw new SpecError('name', `a name other than ${reservedNames.join(', ')}`, checked.name);
    const make = async () => {
      await ownTurn('making');
      return new Network(await makeNetwork(checked), { madeHere: true });
    };
    const remove = (network: Network) => network.remove({ force: true });
    return patientlyMade('making a network', checkCall('patience', patience), make, remove);
  }

  /**
   * Opens a network that exists.
   *
   * @throws NsError `ERR_NS_NETWORK_NOT_FOUND`
   */
  static async get(name: string, patience: Patience = {}): Promise<Network> {
    checkCall('network', { name });
    const open = async () => {
      await ownTurn('opening a network');
      return new Network(await holdNetwork(name), { madeHere: false });
    };
    return patientlyMade('opening a network', checkCall('patience', patience), open, (network) => network.close());
  }

  /**
   * Networks of this state root, whoever made them.
   *
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
   */
  static async list(patience: Patience = {}): Promise<NetworkInfo[]> {
    const inspectAll = () => Promise.all(storedNames().map(inspectByName));
    const found = await patientlyInTurn('listing networks', checkCall('patience', patience), inspectAll);
    return found.filter((network) => network !== undefined);
  }

  /**
   * What it is, and who is on it.
   *
   * @throws NsError `ERR_NS_NETWORK_NOT_FOUND`: it was removed
   */
  async inspect(patience: Patience = {}): Promise<NetworkInfo> {
    return this.#inTurn('inspecting a network', checkCall('patience', patience), () => inspectNetwork(this.#hold));
  }

  /**
   * Connects a running container, until its end or {@link Network.disconnect}. It is found by its names at once.
   *
   * @param container - a container of this process, its id or its name
   * @throws NsError `ERR_NS_NETWORK_CONNECTED`, `ERR_NS_EGRESS_BYPASS`, `ERR_NS_CONTAINER_NOT_OURS`; `ERR_NS_NO_NETWORK`: its network
   *   is that of the host or of another container
   */
  async connect(
    container: string | { readonly id: string },
    options: Omit<NetworkAttachment, 'network'> = {},
    patience: Patience = {},
  ): Promise<Endpoint> {
    checkCall('member', { container });
    const checked = checkConnectOptions(options);
    const connect = () => this.#connect(container, checked);
    const disconnect = () => this.disconnect(container);
    return patientlyMade('connecting', checkCall('patience', patience), connect, disconnect);
  }

  async #connect(
    container: string | { readonly id: string },
    options: Omit<NetworkAttachment, 'network'>,
  ): Promise<Endpoint> {
    await ownTurn(this.#turn);
    const { id, init, spec, owner, status } = findState(typeof container === 'string' ? container : container.id);
    if (!isOurs(owner) || status === 'stopped' || !init)
      throw new NsError(
        'ERR_NS_CONTAINER_NOT_OURS',
        `container ${id.slice(0, 12)} is ${status}, or another process's`,
        {
          hint: 'Connect it while it runs, in the process that made it',
        },
      );
    assertOwnNetwork(id, spec);
    const { ContainerNetwork } = await import('./container-network.ts');
    try {
      const live = await ContainerNetwork.adopt(id, spec, init);
      return await live.connect({ ...options, network: this.name });
    } catch (error) {
      if (isAlive(init) && !isExiting(init.pid)) throw error;
      throw new ContainerStateError('ERR_NS_CONTAINER_NOT_RUNNING', id.slice(0, 12), 'stopped', 'connect it');
    }
  }

  /** Disconnects a container, of whatever process; its link, addresses, ports and names go. Idempotent. */
  async disconnect(container: string | { readonly id: string }, patience: Patience = {}): Promise<void> {
    checkCall('member', { container });
    return this.#inTurn('disconnecting', checkCall('patience', patience), async () => {
      const id = typeof container === 'string' ? findState(container).id : container.id;
      const live = liveNetworks.get(id);
      if (live?.isOn(this.name)) await live.disconnect(this.name);
      else await this.#hold.network.disconnect(id);
    });
  }

  /**
   * Changes what its containers may connect to, those that run among them. It must have been made with a policy.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC`: a rule that cannot be read
   * @throws NsError `ERR_NS_NO_EGRESS_POLICY`: it was made without one; `ERR_NS_NETWORK_NOT_FOUND`: it was removed
   */
  async update({ egress }: { readonly egress: EgressOptions }, patience: Patience = {}): Promise<void> {
    const { network } = this.#hold;
    checkNetworkOptions({ ...network.options, egress });
    if (!network.backend.egress)
      throw new NsError('ERR_NS_NO_EGRESS_POLICY', `network '${this.name}' was made without an egress policy`, {
        hint: 'Make it with one, { default: "allow" } at least',
      });
    return this.#inTurn('changing a network', checkCall('patience', patience), () => network.changeEgress(egress));
  }

  /**
   * Removes it with its rules and leases. Idempotent. What containers that are gone have left in it is no obstacle. Once begun
   * it is carried through, also for somebody who lost patience.
   *
   * @throws NetworkInUseError `ERR_NS_NETWORK_IN_USE`: containers are on it, and `force` was not given
   */
  async remove(options: { force?: boolean } & Patience = {}): Promise<void> {
    const { force = false, ...patience } = checkCall('remove', options);
    return this.#inTurn('removing a network', patience, () => this.#remove(force ? 'with containers' : 'when empty'));
  }

  async #remove(how: 'with containers' | 'when empty'): Promise<void> {
    const { network } = this.#hold;
    if (!storedNames().includes(this.name)) return;
    if (how === 'when empty') {
      await network.backend.prune(goneOwners());
      const containers = (await network.backend.endpoints()).map(({ owner }) => owner);
      if (containers.length > 0) throw new NetworkInUseError(this.name, containers);
    } else {
      const owners = (await network.backend.endpoints()).map(({ owner }) => owner);
      await Promise.all(owners.map((owner) => liveNetworks.get(owner)?.disconnect(this.name)));
    }
    await network.remove();
    await this.#hold.release();
  }

  /** Stops what it does in this process, unless containers of ours are on it; the network stays. Idempotent. */
  async close(patience: Patience = {}): Promise<void> {
    return this.#inTurn('closing a network', checkCall('patience', patience), () => this.#hold.release());
  }

  /** `remove({ force: true })` of a network that was made here, `close()` of one that was found. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#madeHere) await this.remove({ force: true });
    else await this.close();
  }

  /** Its name, which is all that a stored specification needs. */
  toJSON(): string {
    return this.name;
  }

  /** What is called on one network keeps its order. */
  #inTurn<Value>(what: string, patience: Patience, act: () => Value | Promise<Value>): Promise<Value> {
    return patientlyInTurn(what, patience, act, this.#turn);
  }

  get #turn(): string {
    return `network ${this.name}`;
  }
}

/** undefined for one that is being made, or removed, this moment. */
async function inspectByName(name: string): Promise<NetworkInfo | undefined> {
  try {
    const hold = await holdNetwork(name);
    try {
      return await inspectNetwork(hold);
    } finally {
      await hold.release();
    }
  } catch (error) {
    if (error instanceof NsError && error.code === 'ERR_NS_NETWORK_NOT_FOUND') return undefined;
    throw error;
  }
}

async function inspectNetwork({ network }: NetworkHold): Promise<NetworkInfo> {
  const { options, backend } = network;
  existing(options.name);
  const { record, gateways } = backend;
  const endpoints = await backend.endpoints();
  return {
    name: options.name,
    driver: options.driver ?? 'bridge',
    subnets: record.subnets.map(({ subnet }) => ({
      subnet,
      gateway: gateways.find((gateway) => gateway.includes(':') === subnet.includes(':')),
    })),
    link: record.bridge,
    internal: record.internal,
    icc: record.icc,
    mtu: record.mtu,
    egress: backend.egress?.options,
    labels: record.labels,
    createdAt: new Date(record.created),
    containers: endpoints.map(({ owner, ...place }) => ({ id: owner, ...place })),
  };
}

/** What is connected would be connected for all who have that network. */
function assertOwnNetwork(id: string, spec: Pick<ContainerSpec, 'network' | 'namespaces'>): void {
  const { network, namespaces } = spec;
  if (![network, namespaces?.net].some((choice) => choice === 'host' || isOfOthers(choice))) return;
  throw new NsError('ERR_NS_NO_NETWORK', `container ${id.slice(0, 12)} has no network of its own`, {
    hint: 'Connect the container whose network it has',
  });
}
