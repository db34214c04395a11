import { entrust } from '@ns/launch';
import {
  AsyncResourceStack,
  NsError,
  ownTurn,
  type ProcessIdentity,
  rollBack,
  SeveralErrors,
  SpecError,
} from '@ns/libc';
import {
  type EgressOptions,
  type Endpoint,
  type Entrust,
  link,
  NetNamespace,
  type PublishedPort,
  type RefusedConnection,
} from '@ns/netns';
import { isDetachable } from '../detachment.ts';
import type { PlacedFile } from '../plan/root-steps.ts';
import { isSame } from '../process-identity.ts';
import { sharesMounts } from '../shared-mounts.ts';
import { Turns } from '../turns.ts';
import type { ContainerSpec } from '../types.ts';
import { asWritten } from './as-written.ts';
import { limitBandwidth } from './bandwidth.ts';
import { refuseBypass } from './egress-bypass.ts';
import { addressesOf } from './endpoint-addresses.ts';
import { liveNetworks } from './live-networks.ts';
import { NameServer, nameServerAddress } from './name-server.ts';
import { networkFiles, replaceFiles } from './network-files.ts';
import { type Bandwidth, type NetworkAttachment, nameOf, planNetwork } from './network-spec.ts';
import { setNetworkSysctls } from './network-sysctls.ts';
import { holdNetwork, makeNetwork, type NetworkHold, type OpenedNetwork, placeIn } from './opened-networks.ts';
import { type Named, nameNow, namesForOthers, ownNames } from './own-names.ts';
import { markAdopted, markOwner, ownerLabel, unmarkAdopted, unmarkOwner } from './owner-mark.ts';
import { takeNamespace } from './ready-namespaces.ts';
import { whenGone } from './when-gone.ts';

interface Connection {
  readonly hold: NetworkHold;
  readonly endpoint: Endpoint;
  readonly own: boolean;
  stopListening(): void;
}

/** The network of one container, from before its first process to after its last. */
export class ContainerNetwork implements AsyncDisposable {
  readonly #id: string;
  readonly #spec: ContainerSpec;
  readonly #netns: NetNamespace;
  /** Its first process, where it was there before. */
  readonly #adopted: ProcessIdentity | undefined;
  readonly #connections = new Map<string, Connection>();
  readonly #servers = new NameServer();
  /** What one call makes another must find whole: two connect it at once, or it ends meanwhile. */
  readonly #turns = new Turns();
  #ended = false;
  #pid: number | undefined;
  #bandwidth: Bandwidth;
  #egress: EgressOptions | undefined;
  readonly #entrusted = new Set<Disposable>();
  #outlivesUs = false;
  /** The kernel takes it apart by itself. */
  readonly lifeline = undefined;
  #onRefused: (refused: RefusedConnection) => void = () => {};

  private constructor(id: string, spec: ContainerSpec, netns: NetNamespace, adopted?: ProcessIdentity) {
    this.#id = id;
    this.#spec = spec;
    this.#netns = netns;
    this.#adopted = adopted;
    this.#bandwidth = spec.bandwidth ?? {};
    this.#egress = spec.egress;
  }

  /** Makes a namespace and connects it as a specification says. When a step fails, those before it are undone. */
  static async create(id: string, spec: ContainerSpec): Promise<ContainerNetwork> {
    const plan = planNetwork(spec);
    const network = new ContainerNetwork(id, spec, await takeNamespace());
    try {
      markOwner(id);
      liveNetworks.set(id, network);
      if (plan.kind === 'connected') {
        await network.#open(plan.attachments, plan.own);
        setNetworkSysctls(spec.sysctls, network.#netns);
      }
      return network;
    } catch (error) {
      throw await rollBack(error, () => network[Symbol.asyncDispose]());
    }
  }

  /**
   * The namespace of a running container that was made without a network.
   *
   * @throws NsError `ERR_NS_CONTAINER_NOT_OURS`: another copy of this package, or another thread, has connected it
   */
  static async adopt(id: string, spec: ContainerSpec, init: ProcessIdentity): Promise<ContainerNetwork> {
    const live = liveNetworks.get(id);
    if (live && (!live.#adopted || isSame(live.#adopted, init))) return live;
    // Of a run that has ended this moment.
    await live?.[Symbol.asyncDispose]();
    const netns = await NetNamespace.open({ pid: init.pid });
    if (liveNetworks.has(id)) {
      // By another call, meanwhile.
      netns.close();
      return ContainerNetwork.adopt(id, spec, init);
    }
    try {
      markAdopted(id, init);
    } catch (error) {
      netns.close();
      throw error;
    }
    const network = new ContainerNetwork(id, spec, netns, init);
    network.#pid = init.pid;
    if (isDetachable(spec)) network.outlivesUs();
    liveNetworks.set(id, network);
    // Who made it may not know of us. What cannot be left, prune() finds.
    whenGone(init, () => void network[Symbol.asyncDispose]().catch(() => {}));
    return network;
  }

  /** Descriptor of the namespace. */
  get fd(): number {
    return this.#netns.fd;
  }

  /** Published ports, those that were chosen among them. */
  get ports(): PublishedPort[] {
    return this.endpoints.flatMap(({ ports }) => ports);
  }

  get endpoints(): Endpoint[] {
    return [...this.#connections.values()].map(({ endpoint }) => endpoint);
  }

  /** Names of its networks, with its place in each. */
  get places(): [name: string, endpoint: Endpoint][] {
    return [...this.#connections].map(([name, { endpoint }]) => [name, endpoint]);
  }

  /** Address of the host on its networks; that of macvlan or ipvlan is not to be reached. */
  get hostGateway(): string | undefined {
    return [...this.#connections.values()].flatMap(({ hold }) => hold.network.backend.gateways)[0];
  }

  /** /etc/hosts and /etc/resolv.conf. */
  get files(): PlacedFile[] {
    // Those of others, whose file system it is in, are not about it.
    if (sharesMounts(this.#spec)) return [];
    const { extraHosts, dns } = this.#spec;
    const networks = [...this.#connections.values()].map(({ hold }) => hold.network);
    return networkFiles({
      names: ownNames(this.#id, this.#named),
      addresses: this.endpoints.flatMap(addressesOf),
      nameservers: this.#servers.running ? [nameServerAddress] : networks.flatMap(({ backend }) => backend.gateways),
      hostGateway: this.hostGateway,
      ...(extraHosts && { extraHosts }),
      ...(dns && { dns }),
    });
  }

  /** The container runs as this process, and wants to know of refused connections. */
  began(pid: number, onRefused: (refused: RefusedConnection) => void): void {
    this.#pid = pid;
    this.#onRefused = onRefused;
    // A restarted container has the files of its first run.
    replaceFiles(pid, this.#netns, this.files);
  }

  /** Its place in a network is this one from now on. */
  isAt(name: string, endpoint: Endpoint): void {
    const connection = this.#connections.get(name);
    if (connection) this.#connections.set(name, { ...connection, endpoint });
  }

  /** It outlives us from now on: what it has of networks stays when we die. */
  outlivesUs(): void {
    this.#outlivesUs = true;
    for (const entrusted of this.#entrusted) entrusted[Symbol.dispose]();
    this.#entrusted.clear();
  }

  readonly #entrust: Entrust = (remains) => {
    if (this.#outlivesUs) return nothing;
    const entrusted = entrust(remains);
    this.#entrusted.add(entrusted);
    return {
      [Symbol.dispose]: () => {
        this.#entrusted.delete(entrusted);
        entrusted[Symbol.dispose]();
      },
    };
  };

  /** Connects it to another network while it runs. */
  connect(attachment: NetworkAttachment): Promise<Endpoint> {
    return this.#turns.take(() => this.#connect(attachment));
  }

  async #connect(attachment: NetworkAttachment): Promise<Endpoint> {
    if (this.#ended)
      throw new NsError('ERR_NS_CONTAINER_NOT_RUNNING', `container ${this.#id.slice(0, 12)} has ended`, {
        hint: 'Call start() or restart() first',
      });
    const name = nameOf(attachment.network);
    // Somebody else may have disconnected it.
    if (!(await placeIn(name, this.#id))) await this.#disconnect(name);
    const wayOut = [...this.#connections.values()].every(({ hold }) => hold.network.backend.record.internal);
    const hold = await holdNetwork(name);
    try {
      if (this.#connections.has(name))
        throw new NsError('ERR_NS_NETWORK_CONNECTED', `the container is on network '${name}' already`, {
          hint: 'Disconnect it first to connect it with other options',
        });
      if (this.#egress) refuseBypass(hold.network);
      await this.#attach(hold, attachment, { wayOut, ports: [], own: false, field: '' });
    } catch (error) {
      throw await rollBack(error, () => hold.release());
    }
    await this.#refreshNames();
    return this.#connections.get(name)!.endpoint;
  }

  /** Has it a place in that network which was made here? */
  isOn(name: string): boolean {
    return this.#connections.has(name);
  }

  /** Disconnects it from a network. Idempotent. */
  disconnect(name: string): Promise<void> {
    return this.#turns.take(() => this.#disconnect(name));
  }

  async #disconnect(name: string): Promise<void> {
    const connection = this.#connections.get(name);
    if (!connection) return;
    this.#connections.delete(name);
    // Where there is another end on the host, the network removes that, and this one with it.
    if (connection.endpoint.hostLink === '')
      await link.remove(connection.endpoint.link, { netns: this.#netns, ifMissing: 'ignore' });
    await this.#release(connection);
    await this.#refreshNames();
  }

  /** @throws NsError `ERR_NS_NO_EGRESS_POLICY`: it was made without one */
  assertEgressPolicy(): void {
    if (this.#egress) return;
    throw new NsError('ERR_NS_NO_EGRESS_POLICY', 'the container was made without an egress policy of its own', {
      hint: 'Make it with one, { default: "allow" } at least; that of a network is changed by network.update({ egress })',
    });
  }

  /**
   * Changes what it may connect to.
   *
   * @throws NsError `ERR_NS_NO_EGRESS_POLICY`: it was made without one
   */
  async changeEgress(policy: EgressOptions): Promise<void> {
    this.assertEgressPolicy();
    for (const { own, hold } of this.#connections.values())
      await (own ? hold.network.backend.changeEgress(policy) : hold.network.backend.changeEgressOf(this.#id, policy));
    this.#egress = policy;
  }

  /** Changes how fast it may be. */
  async changeBandwidth(bandwidth: Bandwidth): Promise<void> {
    this.#bandwidth = { ...this.#bandwidth, ...bandwidth };
    for (const { endpoint } of this.#connections.values()) await limitBandwidth(endpoint, this.#netns, this.#bandwidth);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#turns.take(() => this.#dispose());
  }

  async #dispose(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#servers.close();
    const connections = [...this.#connections.values()];
    this.#connections.clear();
    const failures: unknown[] = [];
    for (const connection of connections) await this.#release(connection).catch((error) => failures.push(error));
    // Links of many are gone at the same moment.
    if (connections.length > 0) await ownTurn('clearing up');
    this.#netns.close();
    if (this.#adopted) unmarkAdopted(this.#id, this.#adopted);
    else unmarkOwner(this.#id);
    if (liveNetworks.get(this.#id) === this) liveNetworks.delete(this.#id);
    if (failures.length > 0) throw new SeveralErrors(failures, 'a network could not be left');
  }

  async #open(attachments: readonly NetworkAttachment[], own: boolean): Promise<void> {
    const { ports = [] } = this.#spec;
    const wanted: { hold: NetworkHold; attachment: NetworkAttachment; own: boolean; field: string }[] = [];
    const isList = Array.isArray(this.#spec.network);
    try {
      for (const [index, attachment] of attachments.entries()) {
        const hold = await holdNetwork(nameOf(attachment.network));
        wanted.push({ hold, attachment, own: false, field: isList ? `network[${index}].` : 'network.' });
        if (this.#egress) refuseBypass(hold.network);
      }
      // What may connect to something outside has a way there.
      if (own || (this.#egress && wanted.every(({ hold }) => hold.network.backend.record.internal)))
        wanted.unshift(await this.#makeOwn());
      // Where packets leave is where answers and published ports come in.
      const out = wanted.find(({ hold }) => !hold.network.backend.record.internal) ?? wanted[0];
      if (ports.length > 0 && out?.hold.network.backend.record.internal)
        throw new SpecError(
          'ports',
          'nothing where every network of the container is internal: no way leads in',
          ports,
          'Add a network that is not internal. Containers of an internal one reach all its ports without',
        );
      for (let next = wanted[0]; next; next = wanted[0]) {
        const isOut = next === out;
        const { hold, attachment, own, field } = next;
        await this.#attach(hold, attachment, { wayOut: isOut, ports: isOut ? ports : [], own, field });
        wanted.shift();
      }
    } catch (error) {
      throw await rollBack(error, async () => {
        await using unused = new AsyncResourceStack();
        for (const { hold, own: ours } of wanted) {
          unused.defer(() => hold.release());
          if (ours) unused.defer(() => hold.network.remove());
        }
      });
    }
    await this.#followNames();
  }

  /** A network for this container alone, whose policy is the container's. */
  async #makeOwn(): Promise<{ hold: NetworkHold; attachment: NetworkAttachment; own: true; field: '' }> {
    const name = `container-${this.#id.slice(0, 12)}`;
    const egress = this.#egress;
    const options = { name, labels: { [ownerLabel]: this.#id }, ...(egress && { egress }) };
    const hold = await makeNetwork(options, this.#entrust);
    return { hold, attachment: { network: name }, own: true, field: '' };
  }

  async #attach(
    hold: NetworkHold,
    attachment: NetworkAttachment,
    { wayOut, ports, own, field }: { wayOut: boolean; ports: readonly string[]; own: boolean; field: string },
  ): Promise<void> {
    const { network } = hold;
    const { ip, ip6, mac, aliases = [] } = attachment;
    const named = this.#named;
    const connected = network.connect({
      owner: this.#id,
      netns: this.#netns,
      names: namesForOthers(this.#id, named),
      aliases,
      defaultRoute: wayOut,
      ports,
      ...(ip === undefined ? {} : { address: ip }),
      ...(ip6 === undefined ? {} : { address6: ip6 }),
      ...(mac === undefined ? {} : { mac }),
      ...(own || this.#egress === undefined ? {} : { egress: this.#egress }),
      entrust: this.#entrust,
    });
    const endpoint = await connected.catch((error) => {
      throw asWritten(error, attachment, field);
    });
    const stopListening = network.onRefused(this.#id, addressesOf(endpoint), (refused) => this.#onRefused(refused));
    const connection = { hold, endpoint, own, stopListening };
    this.#connections.set(network.name, connection);
    try {
      // Who renamed it meanwhile has not found it here.
      if (this.#named.name !== named.name) await network.rename(this.#id, () => namesForOthers(this.#id, this.#named));
      await limitBandwidth(endpoint, this.#netns, this.#bandwidth);
    } catch (error) {
      this.#connections.delete(network.name);
      stopListening();
      throw await rollBack(error, () => network.disconnect(this.#id));
    }
  }

  async #release({ hold, own, stopListening }: Connection): Promise<void> {
    stopListening();
    try {
      if (own) await hold.network.remove();
      else await hold.network.disconnect(this.#id);
    } finally {
      await hold.release();
    }
  }

  async #followNames(): Promise<void> {
    await this.#servers.follow(this.#id, this.#netns, this.#networks);
  }

  async #refreshNames(): Promise<void> {
    await this.#followNames();
    if (this.#pid !== undefined) replaceFiles(this.#pid, this.#netns, this.files);
  }

  get #networks(): OpenedNetwork[] {
    return [...this.#connections.values()].map(({ hold }) => hold.network);
  }

  get #named(): Named {
    return { ...this.#spec, name: nameNow(this.#id, this.#spec) };
  }
}

const nothing: Disposable = { [Symbol.dispose]() {} };
