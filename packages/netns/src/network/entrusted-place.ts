import type { NetlinkRequest } from '@ns/netlink';
import { publishRemoval } from '../firewall/firewall.ts';
import type { LeaseLink } from '../ipam/address-pool.ts';
import type { NetnsReference } from '../namespace-reference.ts';
import { type Entrust, Entrusted, linkRemoval, type RemovalMessage, transactionMessage } from '../remains.ts';
import type { Endpoint } from './network-state.ts';
import { inKernel } from './ports-in-force.ts';

/**
 * What of one container's place in a network goes when this process is killed. Its link is not among it, which goes with its
 * namespace, unless there is a policy: that holds until nothing can be sent any more.
 */
export class EntrustedPlace implements Disposable {
  readonly #place: Entrusted;
  readonly #policy: Entrusted;
  readonly #netns: NetnsReference | undefined;
  readonly #leases = new Map<'inet' | 'inet6', LeaseLink>();

  constructor(entrust: Entrust, netns: NetnsReference | undefined) {
    this.#place = new Entrusted(entrust);
    this.#policy = new Entrusted(entrust);
    this.#netns = netns;
  }

  /** It tries to get an address. */
  isAt(family: 'inet' | 'inet6', lease: LeaseLink): void {
    this.#leases.set(family, lease);
    this.#place.is({ links: [...this.#leases.values()] });
  }

  /** It has a record in these files, which says its ports. */
  isRecorded(endpoint: Endpoint, files: readonly string[]): void {
    const ports = endpoint.ports.flatMap(inKernel);
    // Published together, so each part of them is there as a whole, or not at all.
    const parts = Array.from({ length: Math.ceil(ports.length / PORTS_IN_MESSAGE) }, (_, part) =>
      ports.slice(part * PORTS_IN_MESSAGE, (part + 1) * PORTS_IN_MESSAGE),
    );
    const requests = this.#here(parts.map((part) => transactionMessage(publishRemoval(part))));
    this.#place.is({ requests, files, links: [...this.#leases.values()] });
  }

  /** It has a policy, which these transactions take off. */
  isPoliced({ hostLink }: Endpoint, removal: readonly NetlinkRequest[][]): void {
    this.#policy.is({ requests: this.#here([linkRemoval(hostLink), ...removal.map(transactionMessage)]) });
  }

  /** Not any more. */
  hasNoPolicy(): void {
    this.#policy[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.hasNoPolicy();
    this.#place[Symbol.dispose]();
  }

  /** Messages are for the namespace of whoever sends them. */
  #here(requests: readonly RemovalMessage[]): readonly RemovalMessage[] {
    return this.#netns === undefined ? requests : [];
  }
}

/** Of at most 8,000 bytes. */
const PORTS_IN_MESSAGE = 16;
