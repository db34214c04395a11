import { NetlinkError, type NetlinkSocket } from '@ns/netlink';
import {
  addElements,
  addressField,
  type Element,
  type Protocol,
  portField,
  protocolField,
  refreshElement,
} from '../firewall/set-elements.ts';
import type { PortLimit } from './egress-rule.ts';
import { openedSet } from './egress-ruleset.ts';
import type { EgressScope } from './egress-scope.ts';

/** An address a resolver answered, and for how long. */
export interface ResolvedAddress {
  readonly address: string;
  readonly ttlSec: number;
}

// A connection follows the answer at once, but not in zero seconds.
const MIN_OPEN_MS = 2_000;

/** What one policy's resolver has opened in the kernel, until its time is over. */
export class OpenedAddresses {
  readonly #socket: NetlinkSocket;
  readonly #scope: EgressScope;
  readonly #openUntil = new Map<string, number>();

  constructor(socket: NetlinkSocket, scope: EgressScope) {
    this.#socket = socket;
    this.#scope = scope;
  }

  /** Opens an address to a port, or all. */
  open(resolved: ResolvedAddress, limit: PortLimit): void {
    for (const element of this.#elements(resolved, limit)) this.#open(element);
  }

  /** All of it was closed in the kernel. */
  forget(): void {
    this.#openUntil.clear();
  }

  #elements({ address, ttlSec }: ResolvedAddress, { port, protocol }: PortLimit): Element[] {
    const version = address.includes(':') ? 6 : 4;
    const doing = `open ${address} to ${this.#scope.label}`;
    const timeoutMs = BigInt(Math.max(ttlSec * 1000, MIN_OPEN_MS));
    const element = (ports: 'port' | 'any', ...fields: readonly Buffer[]): Element => ({
      set: openedSet(this.#scope, version, ports),
      elements: [{ key: { value: Buffer.concat([addressField(address), ...fields]) }, timeoutMs }],
      doing,
    });
    if (port === undefined) return [element('any')];
    const protocols: readonly Protocol[] = protocol === undefined ? ['tcp', 'udp'] : [protocol];
    return protocols.map((one) => element('port', protocolField(one), portField(port)));
  }

  #open(element: Element): void {
    const key = `${element.set} ${element.elements[0]!.key!.value!.toString('hex')}`;
    const now = Date.now();
    const until = now + Number(element.elements[0]!.timeoutMs);
    const open = this.#openUntil.get(key) ?? 0;
    // Several names may share an address: the one that lives longest counts.
    if (open >= until) return;
    this.#add(element, open);
    for (const [old, end] of this.#openUntil) if (end < now) this.#openUntil.delete(old);
    this.#openUntil.set(key, until);
  }

  #add(element: Element, openUntil: number): void {
    // What we think of as open may have run out this moment, and what we do not know may be open from an earlier process.
    const [likely, otherwise] = openUntil > Date.now() ? [refreshElement, addElement] : [addElement, refreshElement];
    try {
      likely(this.#socket, element);
    } catch (error) {
      if (!(error instanceof NetlinkError) || (error.code !== 'ENOENT' && error.code !== 'EEXIST')) throw error;
      otherwise(this.#socket, element);
    }
  }
}

function addElement(socket: NetlinkSocket, element: Element): void {
  addElements(socket, [element]);
}
