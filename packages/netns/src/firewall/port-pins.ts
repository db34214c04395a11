import { formatIpAddress, type NetlinkRequest, parseIpAddress } from '@ns/netlink';
import { setBridgePort } from '../link/bridge.ts';
import { replaceFdb } from '../neighbour.ts';
import type { Firewall } from './firewall.ts';
import type { PortSetName } from './ruleset.ts';
import {
  addressField,
  type Element,
  keyElement,
  linkField,
  listElements,
  macField,
  putElements,
  removalRequest,
  removeElements,
} from './set-elements.ts';

/** A port of a bridge, and who sends from it. */
export interface PinnedPort {
  /** The port's link. */
  readonly port: string;
  /** Address of the bridge. */
  readonly bridgeMac: string;
  readonly mac: string;
  /** Addresses of either version. */
  readonly addresses: readonly string[];
}

/** Lets nothing in from a port until {@link pinPort} says who may send. The port need not exist yet. */
export function closePort(firewall: Firewall, port: string): void {
  putElements(firewall.socket, [policedElement(port)]);
}

/**
 * Opens a port for its own addresses. From now on it can send no other, and no neighbour can send or take these.
 * What it sends to neighbours, and they to it, is routed by the host. The bridge learns nothing from it any more: frames that
 * are for the bridge itself (LLDP's) would teach it without a rule being asked.
 */
export async function pinPort(firewall: Firewall, pinned: PinnedPort): Promise<void> {
  const { netns } = firewall;
  await setBridgePort(pinned.port, { learning: false, netns });
  putElements(firewall.socket, pinElements(pinned));
  await replaceFdb({
    mac: pinned.mac,
    link: pinned.port,
    database: 'master',
    sticky: true,
    netns,
  });
}

/** Forgets a port that is gone. Idempotent. */
export function unpinPort(firewall: Firewall, pinned: Omit<PinnedPort, 'bridgeMac'>): void {
  removeElements(firewall.socket, [...pinsOf(pinned), policedElement(pinned.port)]);
}

/** Is a port closed, or pinned? */
export function isPortPoliced({ socket }: Firewall, port: string): boolean {
  const link = linkField(port);
  return listElements(socket, 'policed', 'bridge').some(({ key }) => key?.value?.equals(link));
}

/** The requests that undo {@link pinPort}. */
export function pinRemoval(pinned: Omit<PinnedPort, 'bridgeMac'>): NetlinkRequest[] {
  return pinsOf(pinned).map(removalRequest);
}

/** The request that undoes {@link closePort}. */
export function closedPortRemoval(port: string): NetlinkRequest {
  return removalRequest(policedElement(port));
}

function pinsOf(pinned: Omit<PinnedPort, 'bridgeMac'>): Element[] {
  // What a key leads to does not matter for its removal.
  return pinElements({ ...pinned, bridgeMac: pinned.mac }).map(withoutData);
}

/** What the kernel calls a link by itself on IPv6, made from its MAC address (RFC 4291, appendix A). */
export function linkLocalAddress(mac: string): string {
  const [first, ...rest] = mac.split(':').map((byte) => Number.parseInt(byte, 16)) as [number, ...number[]];
  const bytes = [first ^ 2, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)];
  return formatIpAddress(Buffer.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, ...bytes]));
}

function policedElement(port: string): Element {
  return { family: 'bridge', set: 'policed', elements: [keyElement(linkField(port))], doing: `close port ${port}` };
}

function pinElements({ port, bridgeMac, mac, addresses }: PinnedPort): Element[] {
  const link = linkField(port);
  const router = { value: macField(bridgeMac).subarray(0, 6) };
  const element = (set: PortSetName, key: readonly Buffer[], data?: { readonly value: Buffer }): Element => ({
    family: 'bridge',
    set,
    elements: [{ ...keyElement(...key), ...(data && { data }) }],
    doing: `pin port ${port} to ${mac}`,
  });
  const four = addresses.filter((address) => !address.includes(':')).map(addressField);
  const six = addresses.filter((address) => address.includes(':')).map(addressField);
  const linkLocal = parseIpAddress(linkLocalAddress(mac));
  return [
    element('own_mac', [link, macField(mac)]),
    element('router', [link], router),
    ...four.flatMap((address) => [
      element('own4', [link, address]),
      element('taken4', [address]),
      element('router4', [macField(mac), address], router),
    ]),
    ...six.flatMap((address) => [
      element('taken6', [address]),
      element('taken_target', [address]),
      element('router6', [macField(mac), address], router),
    ]),
    // A link-local one another network may have, too: it is nobody's alone.
    ...[...six, linkLocal].flatMap((address) => [
      element('own6', [link, address]),
      element('own_target', [link, address]),
    ]),
  ];
}

function withoutData({ elements, ...rest }: Element): Element {
  return { ...rest, elements: elements.map(({ key }) => (key === undefined ? {} : { key })) };
}
