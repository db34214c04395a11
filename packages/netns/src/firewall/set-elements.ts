import {
  type NetlinkRequest,
  type NetlinkSocket,
  NLM_F,
  nftablesBatch,
  parseIpAddress,
  type SetElement,
  setElementsPayload,
} from '@ns/netlink';
import type { SetName, TableFamily } from './ruleset.ts';
import { elementsRequest } from './table-requests.ts';
import { isMissing, remove } from './transactions.ts';

const INTERVAL_END = 1;
const IFNAMSIZ = 16;

/** An element of one of our sets, ready for the kernel. */
export interface Element {
  /** Default: `inet`. */
  readonly family?: TableFamily;
  readonly set: SetName;
  readonly elements: readonly SetElement[];
  /** How errors call it. */
  readonly doing: string;
}

/* Fields of keys and data. Each is padded to four bytes. */

/** A link name. */
export function linkField(name: string): Buffer {
  const field = Buffer.alloc(IFNAMSIZ);
  field.write(name);
  return field;
}

/** An address of either version. */
export function addressField(address: string): Buffer {
  return parseIpAddress(address);
}

const protocolNumbers = { tcp: 6, udp: 17 } as const;
/** Transport protocols that have ports. */
export type Protocol = keyof typeof protocolNumbers;

/** An address of the link layer. */
export function macField(mac: string): Buffer {
  return Buffer.from(`${mac.replaceAll(':', '')}0000`, 'hex');
}

/** A transport protocol. */
export function protocolField(protocol: Protocol): Buffer {
  return Buffer.from([protocolNumbers[protocol], 0, 0, 0]);
}

/** A port, in network order. */
export function portField(port: number): Buffer {
  return Buffer.from([port >> 8, port & 0xff, 0, 0]);
}

/** The name of a protocol number that has ports. */
export function protocolOf(number: number): Protocol | undefined {
  return (Object.keys(protocolNumbers) as Protocol[]).find((name) => protocolNumbers[name] === number);
}

/** One key. */
export function keyElement(...fields: readonly Buffer[]): SetElement {
  return { key: { value: Buffer.concat(fields) } };
}

/** The addresses from `first` to `last`, in a set of intervals. */
export function intervalElements(first: Buffer, last: Buffer): SetElement[] {
  const start: SetElement = { key: { value: first } };
  const after = BigInt(`0x${last.toString('hex')}`) + 1n;
  const hex = after.toString(16).padStart(last.length * 2, '0');
  // An interval that reaches the end of all addresses has no end element.
  return hex.length > last.length * 2
    ? [start]
    : [start, { key: { value: Buffer.from(hex, 'hex') }, flags: INTERVAL_END }];
}

/** The request that removes an element. */
export function removalRequest(element: Element): NetlinkRequest {
  return request('DELSETELEM', 0, element);
}

/** The request that adds an element, which must not be there. */
export function newRequest(element: Element): NetlinkRequest {
  return request('NEWSETELEM', NLM_F.CREATE | NLM_F.EXCL, element);
}

/** Removes an element whatever is there: it, nothing, or the same key with other data, which is an error. */
export function ownRemovalRequests(element: Element): NetlinkRequest[] {
  return [request('NEWSETELEM', NLM_F.CREATE, element), removalRequest(element)];
}

function request(
  message: 'NEWSETELEM' | 'DELSETELEM',
  flags: number,
  { family = 'inet', set, elements, doing }: Element,
): NetlinkRequest {
  return elementsRequest(message, { set, elements }, { family, doing, flags });
}

/**
 * Adds elements in one transaction, in-process: microseconds where starting nft takes milliseconds. A transaction that fails
 * is slow, though: undoing it, the kernel waits for an RCU grace period.
 *
 * @throws NetlinkError EEXIST when one is there already with other data, ENOENT when the table is not
 */
export function addElements(socket: NetlinkSocket, elements: readonly Element[]): void {
  if (elements.length > 0) socket.transaction(nftablesBatch(elements.map(newRequest)));
}

/** Adds elements, or leaves them as they are, in one transaction. */
export function putElements(socket: NetlinkSocket, elements: readonly Element[]): void {
  socket.transaction(nftablesBatch(elements.map((element) => request('NEWSETELEM', NLM_F.CREATE, element))));
}

/** Starts the timeout of an element that is there anew, without a moment in which it is missing. */
export function refreshElement(socket: NetlinkSocket, element: Element): void {
  // Before Linux 6.12 adding it again would leave its time as it is.
  const requests = [removalRequest(element), request('NEWSETELEM', NLM_F.CREATE, element)];
  socket.transaction(nftablesBatch(requests));
}

/** Removes elements; those that are gone already do not matter. */
export function removeElements(socket: NetlinkSocket, elements: readonly Element[]): void {
  remove(socket, elements.map(removalRequest));
}

/** The elements of a set. */
export function listElements(socket: NetlinkSocket, set: SetName, family: TableFamily = 'inet'): SetElement[] {
  try {
    return socket
      .dump(elementsRequest('GETSETELEM', { set }, { family, doing: `list ${set}` }))
      .flatMap((message) => setElementsPayload.decode(message.payload).attributes.elements ?? []);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
