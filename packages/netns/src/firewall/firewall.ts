import { hasCode, rollBack, SpecError, UnavailableError } from '@ns/libc';
import { formatIpAddress, NETLINK, NetlinkError, type NetlinkRequest, type NetlinkSocket } from '@ns/netlink';
import { NftError, PortInUseError } from '../errors.ts';
import { addressText, parseSubnet } from '../ipam/subnet.ts';
import { checkLinkName } from '../link/link.ts';
import { type InNetns, type NetnsReference, openSocket } from '../namespace-reference.ts';
import { setSync } from '../sysctl.ts';
import { routedForOurs, routeForOurs, routeNoMore } from './forwarding.ts';
import { portRuleset } from './port-ruleset.ts';
import { networkRuleset } from './ruleset.ts';
import {
  addElements,
  addressField,
  type Element,
  intervalElements,
  keyElement,
  linkField,
  listElements,
  ownRemovalRequests,
  type Protocol,
  portField,
  protocolField,
  protocolOf,
  removalRequest,
  removeElements,
} from './set-elements.ts';
import { ensureTable, removeTables, removeUnusedTables } from './tables.ts';
import { isMissing } from './transactions.ts';

const ADD_ATTEMPTS = 10;

/** A bridge network, as the firewall sees it. */
export interface FirewallNetwork {
  /** Name of the bridge. */
  readonly bridge: string;
  /** Its subnets, of either version. */
  readonly subnets: readonly string[];
  /** Nothing goes out, nothing comes in. Default false. */
  readonly internal?: boolean;
  /** May its containers talk to each other? What the bridge keeps apart is not routed either. Default true. */
  readonly icc?: boolean;
  /** Hide its addresses behind the host's. Default true. */
  readonly masquerade?: boolean;
}

/** A port of the host that leads into a container. */
export interface PublishedPort {
  readonly protocol: Protocol;
  /** Address of the host; left out, every address of the version of `address`. */
  readonly hostAddress?: string | undefined;
  readonly hostPort: number;
  /** Address of the container. */
  readonly address: string;
  readonly port: number;
}

/**
 * The nftables rules of bridge networks: one table of our own, `inet ns`, beside whatever Docker, firewalld and others
 * have. Its rules are fixed and written once, by nft; networks and ports are elements of its sets, changed in-process over
 * nfnetlink in one transaction.
 *
 * Outgoing connections are masqueraded, networks do not reach each other, and from outside only published ports are
 * reached. All of it needs CAP_NET_ADMIN.
 *
 * A rule of another table that drops forwarded packets (Docker's FORWARD policy) still holds: in nftables every table must
 * agree.
 */
export class Firewall implements Disposable {
  readonly #netns: NetnsReference | undefined;
  readonly #socket: NetlinkSocket;

  private constructor(netns: NetnsReference | undefined) {
    this.#netns = netns;
    this.#socket = openSocket(netns, { protocol: NETLINK.NETFILTER });
  }

  /**
   * Opens the table, and makes it when it is not there or older than this library.
   *
   * @throws UnavailableError when it has to be made and nft is not installed
   * @throws NftError when the kernel lacks something the rules need
   */
  static async open(options: InNetns = {}): Promise<Firewall> {
    const firewall = new Firewall(options.netns);
    try {
      await ensureTable(firewall.#socket, networkRuleset, options);
    } catch (error) {
      firewall.#socket.close();
      throw error;
    }
    return firewall;
  }

  /** Removes what this library has put there, networks in use included. Idempotent; no other rule is touched. */
  static async remove(options: InNetns = {}): Promise<void> {
    using firewall = new Firewall(options.netns);
    const routed = routedForOurs(firewall.#socket);
    removeTables(firewall.#socket);
    routeNoMore(firewall.#socket, routed, options);
  }

  /**
   * Removes the tables when no network and no published port is in them, and leaves them alone otherwise; atomic against
   * whoever adds one meanwhile. Forwarding that was on for them only goes off. Idempotent.
   */
  static async removeUnused(options: InNetns = {}): Promise<void> {
    using firewall = new Firewall(options.netns);
    routeNoMore(firewall.#socket, removeUnusedTables(firewall.#socket), options);
  }

  /**
   * Makes the table for ports of bridges, which containers with an egress policy of their own need, unless it is there.
   *
   * @throws UnavailableError the kernel has no nftables for bridges
   */
  async preparePorts(): Promise<void> {
    try {
      await ensureTable(this.#socket, portRuleset, { netns: this.#netns });
    } catch (error) {
      if (!(error instanceof NftError) && !hasCode(error, 'EOPNOTSUPP', 'EAFNOSUPPORT')) throw error;
      throw new UnavailableError(
        'an egress policy of one container among several',
        `the kernel does not take rules for ports of bridges: ${(error as Error).message}`,
        'Use a kernel with CONFIG_NF_TABLES_BRIDGE, or give the policy to a network that only this container is on',
      );
    }
  }

  /** The netlink socket, for the parts of this package that fill other sets. */
  get socket(): NetlinkSocket {
    return this.#socket;
  }

  get netns(): NetnsReference | undefined {
    return this.#netns;
  }

  /**
   * Lets a network out, and sets the sysctls that takes: forwarding, and route_localnet of the bridge. Where forwarding was off,
   * it is for our networks alone, until the last of them goes: what is of none of them is dropped. See {@link Firewall.allowForwarding}.
   *
   * @throws NetlinkError EEXIST when the bridge or one of the subnets is in the table already
   */
  async addNetwork(network: FirewallNetwork): Promise<void> {
    await this.#addElements(networkElements(network));
    if (network.internal) return;
    try {
      this.allowForwarding(network);
    } catch (error) {
      throw await rollBack(error, async () => this.removeNetwork(network));
    }
  }

  async #addElements(elements: readonly Element[]): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return addElements(this.#socket, elements);
      } catch (error) {
        if (!isMissing(error) || attempt === ADD_ATTEMPTS) throw error;
      }
      // Another process has removed the last network since the table was opened.
      await ensureTable(this.#socket, networkRuleset, { netns: this.#netns });
    }
  }

  /**
   * Sets the sysctls that it takes for packets of a network that was added to be routed. Where forwarding was off, what neither
   * comes from nor goes to a network of ours is dropped from then on, unless one of its links is a bridge or a veth, which other
   * programs connect theirs with. Who wants more turns it on before, or empties the set `strangers` of the table.
   */
  allowForwarding(network: FirewallNetwork): void {
    const options = { netns: this.#netns };
    const versions = [...new Set(network.subnets.map((subnet) => parseSubnet(subnet).family))];
    routeForOurs(this.#socket, versions, options);
    if (versions.includes('inet')) setSync(`net/ipv4/conf/${network.bridge}/route_localnet`, 1, options);
  }

  /**
   * Takes a network out. Idempotent. Ports of its containers are taken out by {@link unpublish}, the table when it was the
   * last one by {@link Firewall.removeUnused}.
   */
  removeNetwork(network: FirewallNetwork): void {
    removeElements(this.#socket, networkElements(network));
  }

  /**
   * Publishes ports, all or none.
   *
   * @throws PortInUseError when one of them leads into another container
   */
  publish(ports: readonly PublishedPort[]): void {
    try {
      addElements(this.#socket, ports.map(publishElement));
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== 'EEXIST') throw error;
      const taken = this.published();
      const [port, holder] = ports.flatMap((wanted) =>
        taken.filter((one) => sameHostPort(one, wanted)).map((one) => [wanted, one] as const),
      )[0] ?? [ports[0]!, undefined];
      throw new PortInUseError(describePort(port), holder ? `the container at ${holder.address}` : 'another container');
    }
  }

  /** Takes ports back. Idempotent. */
  unpublish(ports: readonly PublishedPort[]): void {
    removeElements(this.#socket, ports.map(publishElement));
  }

  /** All published ports, of whatever process. */
  published(): PublishedPort[] {
    return publishMaps.flatMap(({ set, addressSize, on }) =>
      listElements(this.#socket, set).flatMap((element) => readPublished(element, addressSize, on)),
    );
  }

  /** Closes the socket; the rules stay. Idempotent. */
  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The requests that undo {@link Firewall.addNetwork}. */
export function networkRemoval(network: FirewallNetwork): NetlinkRequest[] {
  return networkElements(network).map(removalRequest);
}

/** The requests that undo {@link Firewall.publish}. They are refused where one of the ports leads elsewhere. */
export function publishRemoval(ports: readonly PublishedPort[]): NetlinkRequest[] {
  return ports.map(publishElement).flatMap(ownRemovalRequests);
}

function networkElements(network: FirewallNetwork): Element[] {
  const bridge = linkField(checkLinkName(network.bridge, 'bridge'));
  const doing = `let network ${network.bridge} through the firewall`;
  const elements: Element[] = [{ set: 'bridges', elements: [keyElement(bridge)], doing }];
  if (network.icc !== false) elements.push({ set: 'same_bridge', elements: [keyElement(bridge, bridge)], doing });
  if (network.internal) elements.push({ set: 'internal', elements: [keyElement(bridge)], doing });
  else if (network.masquerade !== false) {
    for (const text of network.subnets) {
      const { family, first, last } = parseSubnet(text, 'subnets');
      const bytes = (address: bigint): Buffer => addressField(addressText(address, family));
      elements.push({
        set: family === 'inet' ? 'nat4' : 'nat6',
        elements: intervalElements(bytes(first), bytes(last)),
        doing,
      });
    }
  }
  return elements;
}

const publishMaps = [
  { set: 'publish4', addressSize: 4, on: false },
  { set: 'publish4_on', addressSize: 4, on: true },
  { set: 'publish6', addressSize: 16, on: false },
  { set: 'publish6_on', addressSize: 16, on: true },
] as const;

function publishElement(port: PublishedPort): Element {
  const { protocol, hostAddress, hostPort, address } = port;
  for (const [field, value] of [
    ['hostPort', hostPort],
    ['port', port.port],
  ] as const) {
    if (!Number.isInteger(value) || value < 1 || value > 65535)
      throw new SpecError(field, 'a port from 1 to 65535', value);
  }
  const target = addressField(address);
  const host = hostAddress === undefined ? undefined : addressField(hostAddress);
  if (host && host.length !== target.length)
    throw new SpecError('hostAddress', `an address of the version of ${address}`, hostAddress);
  const { set } = publishMaps.find((map) => map.addressSize === target.length && map.on === (host !== undefined))!;
  const key = [...(host ? [host] : []), protocolField(protocol), portField(hostPort)];
  return {
    set,
    elements: [{ ...keyElement(...key), data: { value: Buffer.concat([target, portField(port.port)]) } }],
    doing: `publish ${describePort(port)}`,
  };
}

function readPublished(
  element: { key?: { value?: Buffer }; data?: { value?: Buffer } },
  addressSize: number,
  on: boolean,
): PublishedPort[] {
  const [key, value] = [element.key?.value, element.data?.value];
  const at = on ? addressSize : 0;
  const protocol = key && protocolOf(key[at]!);
  if (!key || !value || !protocol) return [];
  return [
    {
      protocol,
      ...(on ? { hostAddress: formatIpAddress(key.subarray(0, addressSize)) } : {}),
      hostPort: key.readUInt16BE(at + 4),
      address: formatIpAddress(value.subarray(0, addressSize)),
      port: value.readUInt16BE(addressSize),
    },
  ];
}

function sameHostPort(a: PublishedPort, b: PublishedPort): boolean {
  return (
    a.protocol === b.protocol &&
    a.hostPort === b.hostPort &&
    a.hostAddress === b.hostAddress &&
    a.address.includes(':') === b.address.includes(':')
  );
}

/** `0.0.0.0:8080/tcp` */
export function describePort(port: PublishedPort): string {
  const any = port.address.includes(':') ? '::' : '0.0.0.0';
  const host = port.hostAddress ?? any;
  return `port ${host.includes(':') ? `[${host}]` : host}:${port.hostPort}/${port.protocol} of the host`;
}
