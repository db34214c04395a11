import { rollBack, SpecError } from '@ns/libc';
import { canonicalName } from '../dns/name-table.ts';
import type { EgressOptions } from '../egress/egress-rule.ts';
import { checkEgress } from '../egress/policy-rules.ts';
import type { Firewall } from '../firewall/firewall.ts';
import type { AddressPool, LeaseLink } from '../ipam/address-pool.ts';
import type { NetnsReference } from '../namespace-reference.ts';
import { NetNamespace } from '../net-namespace.ts';
import { parsePortSpec } from '../ports/port-spec.ts';
import { type HostPort, type PublishedPorts, type ReservedPorts, reservePorts } from '../ports/publish-ports.ts';
import type { Entrust } from '../remains.ts';
import { BridgeSide } from './bridge-side.ts';
import { EntrustedPlace } from './entrusted-place.ts';
import { isPoliced, type NetworkPolicies } from './network-policies.ts';
import { digest, type Endpoint, type NetworkRecord, type NetworkState } from './network-state.ts';
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
  /** Names others find it by, which {@link BridgeNetwork.rename} replaces. */
  readonly names?: readonly string[];
  /** Names others find it by, whatever it is called. */
  readonly aliases?: readonly string[];
  /** Make this network the way out. Default true. */
  readonly defaultRoute?: boolean;
  /** Published ports in Docker's notation. An internal network has none. */
  readonly ports?: readonly string[];
  /**
   * What this container may connect to, its neighbours on the network included. What the network's own policy refuses
   * stays refused. Needs CONFIG_NF_TABLES_BRIDGE. Left out, what the network may.
   */
  readonly egress?: EgressOptions;
  /**
   * Is told of what would stay here when this process is killed, before it is made: then the container's place goes with whoever
   * removes that. What is in the kernel is told of in this process's own network namespace only.
   *
   * @example
   * import { entrust } from '@ns/launch';
   * await network.connect({ owner, netns, entrust });
   */
  readonly entrust?: Entrust;
}

/** What a network's endpoints are made with. */
export interface NetworkParts {
  readonly record: NetworkRecord;
  readonly firewall: Firewall;
  readonly state: NetworkState;
  readonly pools: readonly AddressPool[];
  readonly policies: NetworkPolicies;
}

/** Containers of a network, as they come and go. */
export class NetworkEndpoints {
  readonly #record: NetworkRecord;
  readonly #firewall: Firewall;
  readonly #state: NetworkState;
  readonly #pools: readonly AddressPool[];
  readonly #policies: NetworkPolicies;
  readonly #bridge: BridgeSide;
  // Of this process.
  readonly #published = new Map<string, PublishedPorts>();
  readonly #entrusted = new Map<string, EntrustedPlace>();

  constructor({ record, firewall, state, pools, policies }: NetworkParts) {
    this.#record = record;
    this.#firewall = firewall;
    this.#state = state;
    this.#pools = pools;
    this.#policies = policies;
    this.#bridge = new BridgeSide(firewall.netns, record, pools);
  }

  /** When a step fails, those before it are undone. */
  async connect(options: ConnectOptions): Promise<Endpoint> {
    const { owner, egress } = options;
    const names = canonicalNames(options.names, 'names');
    const aliases = canonicalNames(options.aliases, 'aliases');
    const ports = (options.ports ?? []).flatMap((text) => parsePortSpec(text));
    if (ports.length > 0 && this.#record.internal)
      throw new SpecError(
        'ports',
        `nothing: network '${this.#record.name}' is internal, no way leads in`,
        options.ports,
      );
    // A rule that cannot be read is said before anything is made.
    if (egress) checkEgress(egress);
    if (this.#state.hasEndpoint(this.#record.name, owner))
      throw new SpecError('owner', `somebody who is not connected to '${this.#record.name}' yet`, owner);
    // A namespace that has a socket open already lends it.
    const borrowed = options.netns instanceof NetNamespace ? options.netns : undefined;
    const inside = borrowed ?? (await NetNamespace.open(options.netns));
    let reserved: ReservedPorts | undefined;
    try {
      const sinceMs = Date.now();
      const entrusted = this.#entrust(options, sinceMs);
      const addresses = this.#allocate(options, sinceMs, entrusted);
      const { address, address6 } = addresses;
      const holderOf = (port: HostPort) => this.#state.holderOf(port);
      if (ports.length > 0) reserved = await reservePorts({ ports, firewall: this.#firewall, ...addresses, holderOf });
      let endpoint: Endpoint = {
        owner,
        link: options.link ?? 'eth0',
        // Another state root may have a network of this name; its bridge is called otherwise.
        hostLink: `nsv${digest(this.#record.bridge, owner).slice(0, 12)}`,
        mac: options.mac ?? macFor(address ?? address6!, owner),
        address,
        address6,
        names: [...new Set([...names, ...aliases])],
        ...(aliases.length > 0 && { aliases }),
        ports: reserved?.ports ?? [],
        egress,
      };
      if (endpoint.ports.length > 0) entrusted?.hasPorts(endpoint);
      if (isPoliced(endpoint)) entrusted?.isPoliced(endpoint, this.#policies.removal(endpoint));
      this.#state.writeEndpoint(this.#record.name, endpoint);
      if (isPoliced(endpoint)) await this.#policies.prepare(endpoint, this.#record);
      const wayOut =
        options.defaultRoute === false || this.#record.internal
          ? []
          : this.#pools.flatMap((pool) => pool.gateway ?? []);
      try {
        this.#bridge.plug(endpoint, inside, wayOut);
      } catch (error) {
        if (!(error instanceof LinkNameTakenError)) throw error;
        // Most containers have one network, so eth0 is tried without asking.
        if (options.link !== undefined) throw error.cause;
        endpoint = { ...endpoint, link: freeLinkName(inside) };
        this.#state.writeEndpoint(this.#record.name, endpoint);
        this.#bridge.plug(endpoint, inside, wayOut);
      }
      if (isPoliced(endpoint)) await this.#policies.add(endpoint);
      reserved?.lead();
      if (reserved) this.#published.set(owner, reserved);
      return endpoint;
    } catch (error) {
      throw await rollBack(error, async () => {
        await reserved?.close();
        await this.disconnect(owner);
      });
    } finally {
      if (!borrowed) inside.close();
    }
  }

  /** See {@link BridgeNetwork.rename}. */
  rename(owner: string, names: () => readonly string[]): Promise<Endpoint | undefined> {
    return this.#state.changeEndpoint(this.#record.name, owner, (now) => ({
      ...now,
      names: [...new Set([...canonicalNames(names(), 'names'), ...(now.aliases ?? [])])],
    }));
  }

  /** See {@link BridgeNetwork.changeEgressOf}. */
  async changeEgress(owner: string, egress: EgressOptions): Promise<void> {
    const { name } = this.#record;
    const before = this.#state.endpoint(name, owner);
    if (!before || !isPoliced(before))
      throw new SpecError('egress', 'nothing: the container was connected without a policy', egress);
    checkEgress(egress);
    const write = (policy: EgressOptions) =>
      this.#state.changeEndpoint(name, owner, (now) => ({ ...now, egress: policy }));
    await write(egress);
    try {
      await this.#policies.change(before, egress);
    } catch (error) {
      throw await rollBack(error, async () => void (await write(before.egress)));
    }
  }

  /** Idempotent. */
  async disconnect(owner: string): Promise<void> {
    const endpoint = this.#state.endpoint(this.#record.name, owner);
    const published = this.#published.get(owner);
    this.#published.delete(owner);
    if (published) await published.close();
    // Ports that another process published.
    else if (endpoint && endpoint.ports.length > 0) this.#firewall.unpublish(portsInForce(this.#firewall, endpoint));
    if (endpoint) await this.#bridge.unplug(endpoint);
    if (endpoint && isPoliced(endpoint)) this.#policies.remove(endpoint);
    const entrusted = this.#entrusted.get(owner);
    this.#entrusted.delete(owner);
    // Before its addresses can be another's.
    entrusted?.hasNoPolicy();
    for (const pool of this.#pools) {
      const address = pool.subnet.family === 'inet' ? endpoint?.address : endpoint?.address6;
      // Without a record a crash came in between, and only the leases tell.
      if (address === undefined) pool.releaseOwner(owner);
      else pool.release(address, owner);
    }
    this.#state.removeEndpoint(this.#record.name, owner);
    entrusted?.[Symbol.dispose]();
  }

  /** Disconnects owners that are gone; returns them. */
  async prune(isGone: (owner: string) => boolean | Promise<boolean>): Promise<string[]> {
    const owners = new Set([
      ...(await this.#state.endpoints(this.#record.name)).map((endpoint) => endpoint.owner),
      ...this.#pools.flatMap((pool) => pool.list().map((lease) => lease.owner)),
    ]);
    const gone: string[] = [];
    for (const owner of owners) if (await isGone(owner)) gone.push(owner);
    await Promise.all(gone.map((owner) => this.disconnect(owner)));
    this.#state.removeDrafts(this.#record.name);
    return gone;
  }

  /** Idempotent. */
  close(): void {
    this.#bridge.close();
  }

  #entrust({ entrust, owner, ...wanted }: ConnectOptions, sinceMs: number): EntrustedPlace | undefined {
    if (!entrust) return undefined;
    const leases = this.#pools.map((pool) => pool.firstAttempt(owner, { address: wanted[fieldOf(pool)], sinceMs }));
    const files = this.#state.endpointFiles(this.#record.name, owner);
    const entrusted = new EntrustedPlace(entrust, this.#firewall.netns, { files, leases });
    // Another process has disconnected it since.
    this.#entrusted.get(owner)?.[Symbol.dispose]();
    this.#entrusted.set(owner, entrusted);
    return entrusted;
  }

  #allocate(
    options: ConnectOptions,
    sinceMs: number,
    entrusted: EntrustedPlace | undefined,
  ): { readonly [Field in AddressField]: string | undefined } {
    const taken: Partial<Record<AddressField, string>> = {};
    for (const field of ['address', 'address6'] as const)
      if (options[field] !== undefined && !this.#pools.some((pool) => fieldOf(pool) === field))
        throw new SpecError(field, `nothing: network '${this.#record.name}' has no such subnet`, options[field]);
    for (const [number, pool] of this.#pools.entries()) {
      const onAttempt = (link: LeaseLink) => entrusted?.isAt(number, link);
      const field = fieldOf(pool);
      try {
        taken[field] = pool.allocate(options.owner, { address: options[field], sinceMs, onAttempt }).address;
      } catch (error) {
        throw error instanceof SpecError ? error.at(field) : error;
      }
    }
    return { address: taken.address, address6: taken.address6 };
  }
}

type AddressField = 'address' | 'address6';

function canonicalNames(names: readonly string[] = [], field: string): string[] {
  return names.map((name) => canonicalName(name, field));
}

/** What of a container an address of this pool is. */
function fieldOf({ subnet }: AddressPool): AddressField {
  return subnet.family === 'inet' ? 'address' : 'address6';
}
