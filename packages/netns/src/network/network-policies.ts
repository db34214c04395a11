import type { NetlinkRequest } from '@ns/netlink';
import { jointPolicy, type NamePolicy } from '../dns/name-policy.ts';
import { forgetConnections } from '../egress/cut-connections.ts';
import { EgressPolicy } from '../egress/egress-policy.ts';
import { hasPolicy, policyRemovals, wholeRemoval } from '../egress/egress-removal.ts';
import type { EgressOptions } from '../egress/egress-rule.ts';
import { type EgressPlace, egressScope } from '../egress/egress-scope.ts';
import type { Firewall } from '../firewall/firewall.ts';
import {
  closedPortRemoval,
  closePort,
  isPortPoliced,
  linkLocalAddress,
  pinPort,
  pinRemoval,
} from '../firewall/port-pins.ts';
import { attempt, remove, removeEach } from '../firewall/transactions.ts';
import { get as getLink } from '../link/link.ts';
import { firewallNetwork } from './network-plan.ts';
import type { Endpoint, NetworkRecord } from './network-state.ts';

const PACKET_LOG_GROUPS_FROM = 20_000;
const PACKET_LOG_GROUPS = 40_000;

/** An endpoint whose container has a policy of its own. */
export type PolicedEndpoint = Endpoint & { readonly egress: EgressOptions };

/** The egress policies of a network: its own, and those of containers on it. */
export class NetworkPolicies {
  readonly #firewall: Firewall;
  readonly #bridge: string;
  #network: EgressPolicy | undefined;
  /** By the owner of the endpoint. */
  #containers = new Map<string, { readonly policy: EgressPolicy; readonly sources: readonly string[] }>();
  #byAddress = new Map<string, EgressPolicy>();

  constructor(firewall: Firewall, bridge: string) {
    this.#firewall = firewall;
    this.#bridge = bridge;
  }

  /** The network's own. */
  get ofNetwork(): EgressPolicy | undefined {
    return this.#network;
  }

  /** The policy of a container, put in force by whatever process. */
  ofContainer(owner: string): EgressPolicy | undefined {
    return this.#containers.get(owner)?.policy;
  }

  /** What the client at an address may know by name. */
  for(client: string): NamePolicy | undefined {
    // A link-local address comes with the name of the bridge.
    return jointPolicy([this.#byAddress.get(client.split('%')[0]!), this.#network]);
  }

  /** Puts the network's own policy in force, or takes part in it, if it has one. */
  async start({ egress: policy, subnets }: NetworkRecord, { isNew }: { isNew: boolean }): Promise<void> {
    if (!policy) return;
    const place = { ...(await this.#place(this.#bridge)), subnets: subnets.map(({ subnet }) => subnet) };
    this.#network = await EgressPolicy[isNew ? 'apply' : 'attach']({ ...place, policy });
  }

  /** Takes the network's own policy off. Idempotent. */
  async stop(record: NetworkRecord): Promise<void> {
    if (!record.egress) return;
    const policy = this.#network ?? EgressPolicy.attach({ ...(await this.#place(this.#bridge)), policy: {} });
    await policy.remove();
  }

  /**
   * Before a container with a policy has its link: nothing comes out of it until the policy is in force.
   *
   * @throws UnavailableError the kernel has no rules for ports of bridges
   */
  async prepare(endpoint: PolicedEndpoint, record: NetworkRecord): Promise<void> {
    await this.#firewall.preparePorts();
    // What goes between it and its neighbours is routed, also where nothing goes out.
    this.#firewall.allowForwarding(firewallNetwork(record));
    closePort(this.#firewall, endpoint.hostLink);
    const { netns } = this.#firewall;
    // Of who had its addresses before, who may have had another policy, or none.
    await forgetConnections({ netns, of: egressScope(this.#placeOf(endpoint)).inside });
  }

  /** Puts a container's policy in force, and opens its port. */
  async add(endpoint: PolicedEndpoint): Promise<void> {
    const sources = sourcesOf(endpoint);
    const place = { ...(await this.#place(endpoint.hostLink)), sources };
    this.#remember(endpoint.owner, sources, await EgressPolicy.apply({ ...place, policy: endpoint.egress }));
    const { mac: bridgeMac } = (await getLink(this.#bridge, { netns: this.#firewall.netns }))!;
    await pinPort(this.#firewall, { ...pinned(endpoint), bridgeMac: bridgeMac! });
  }

  /** Replaces the rules of a container's policy. */
  async change(endpoint: PolicedEndpoint, egress: EgressOptions): Promise<void> {
    // Anew: what is known of it may be from before it had its link.
    const policy = await this.#attach(endpoint);
    await policy.change(egress);
  }

  /**
   * Transactions that one after another take a container's policy off, as much of it as there is. Where its port is neither closed
   * nor pinned they are refused: its addresses may be another's by then.
   */
  removal(endpoint: PolicedEndpoint): NetlinkRequest[][] {
    const scope = egressScope(this.#placeOf(endpoint));
    const port = closedPortRemoval(endpoint.hostLink);
    return [pinRemoval(pinned(endpoint)), ...policyRemovals(scope).map((policy) => [port, ...policy]), [port]];
  }

  /** Takes a container's policy off, whose link is gone. Idempotent. */
  remove(endpoint: PolicedEndpoint): void {
    const { socket } = this.#firewall;
    const isThere = () => isPortPoliced(this.#firewall, endpoint.hostLink);
    const port = closedPortRemoval(endpoint.hostLink);
    const scope = egressScope(this.#placeOf(endpoint));
    if (isThere()) remove(socket, pinRemoval(pinned(endpoint)));
    for (const policy of policyRemovals(scope)) {
      // What the kernel refuses takes it milliseconds.
      if (!isThere()) break;
      attempt(socket, [port, ...policy]);
    }
    // It never had all of it, or somebody has removed a part by hand.
    if (isThere()) removeEach(socket, [...(hasPolicy(socket, scope) ? wholeRemoval(scope) : []), port]);
    this.#forget(endpoint.owner);
  }

  /** Knows the policies that are on record, where all processes of the network write. */
  async follow(record: NetworkRecord, endpoints: readonly Endpoint[]): Promise<void> {
    // It may be another network of this name, made meanwhile.
    if (!record.egress) this.#network = undefined;
    else if (!this.#network) await this.start(record, { isNew: false });
    else if (!sameOptions(record.egress, this.#network.options)) this.#network.follow(record.egress);
    const policed = endpoints.filter(isPoliced);
    const owners = new Set(policed.map(({ owner }) => owner));
    for (const owner of this.#containers.keys()) if (!owners.has(owner)) this.#forget(owner);
    for (const endpoint of policed) {
      const known = this.ofContainer(endpoint.owner);
      // One whose link is not there yet is being connected by another process: its port is closed.
      if (!known) await this.#attach(endpoint);
      else if (!sameOptions(known.options, endpoint.egress)) known.follow(endpoint.egress);
    }
  }

  #placeOf(endpoint: Endpoint): Omit<EgressPlace, 'firewall'> {
    const sources = sourcesOf(endpoint);
    return { bridge: this.#bridge, sources, logGroup: PACKET_LOG_GROUPS_FROM };
  }

  async #attach(endpoint: PolicedEndpoint): Promise<EgressPolicy> {
    const sources = sourcesOf(endpoint);
    const place = { ...(await this.#place(endpoint.hostLink)), sources };
    const policy = EgressPolicy.attach({ ...place, policy: endpoint.egress });
    this.#remember(endpoint.owner, sources, policy);
    return policy;
  }

  /** Its packets are logged to a group of the link's number, which no other has at the same time. */
  async #place(link: string): Promise<EgressPlace> {
    const found = await getLink(link, { netns: this.#firewall.netns });
    const logGroup = PACKET_LOG_GROUPS_FROM + ((found?.index ?? 0) % PACKET_LOG_GROUPS);
    return { firewall: this.#firewall, bridge: this.#bridge, logGroup };
  }

  #remember(owner: string, sources: readonly string[], policy: EgressPolicy): void {
    this.#containers.set(owner, { policy, sources });
    for (const source of sources) this.#byAddress.set(source, policy);
  }

  #forget(owner: string): void {
    for (const source of this.#containers.get(owner)?.sources ?? []) this.#byAddress.delete(source);
    this.#containers.delete(owner);
  }
}

/** Transactions that one after another take a network's own policy off, as much of it as there is. */
export function networkPolicyRemovals({ bridge, egress }: NetworkRecord): NetlinkRequest[][] {
  return egress ? policyRemovals(egressScope({ bridge, logGroup: PACKET_LOG_GROUPS_FROM })) : [];
}

/** Has the container a policy of its own? */
export function isPoliced(endpoint: Endpoint): endpoint is PolicedEndpoint {
  return endpoint.egress !== undefined;
}

/** Where packets of a container come from; asking for names, it may use its link-local address. */
function sourcesOf(endpoint: Endpoint): string[] {
  return [...addressesOf(endpoint), linkLocalAddress(endpoint.mac)];
}

function pinned(endpoint: Endpoint): { port: string; mac: string; addresses: string[] } {
  return { port: endpoint.hostLink, mac: endpoint.mac, addresses: addressesOf(endpoint) };
}

function addressesOf({ address, address6 }: Endpoint): string[] {
  return [address, address6].filter((one) => one !== undefined);
}

function sameOptions(a: EgressOptions | undefined, b: EgressOptions | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
