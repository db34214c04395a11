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
  /** Of its record. */
  readonly #files: readonly string[];
  /** Of each pool. */
  readonly #leases: LeaseLink[];

  /** @param leases - what is likely: one is told of much in little more time than of little */
  constructor(
    entrust: Entrust,
    netns: NetnsReference | undefined,
    { files, leases }: { readonly files: readonly string[]; readonly leases: readonly LeaseLink[] },
  ) {
    this.#place = new Entrusted(entrust);
    this.#policy = new Entrusted(entrust);
    this.#netns = netns;
    this.#files = files;
    this.#leases = [...leases];
    this.#place.is({ files, links: leases });
  }

  /** It tries to get an address of a pool. */
  isAt(pool: number, lease: LeaseLink): void {
    if (this.#leases[pool]?.path === lease.path) return;
    this.#leases[pool] = lease;
    this.#place.is({ files: this.#files, links: this.#leases });
  }

  /** It has these ports. */
  hasPorts(endpoint: Endpoint): void {
    const ports = endpoint.ports.flatMap(inKernel);
    // Published together, so each part of them is there as a whole, or not at all.
    const parts = Array.from({ length: Math.ceil(ports.length / PORTS_IN_MESSAGE) }, (_, part) =>
      ports.slice(part * PORTS_IN_MESSAGE, (part + 1) * PORTS_IN_MESSAGE),
    );
    const requests = this.#here(parts.map((part) => transactionMessage(publishRemoval(part))));
    this.#place.is({ requests, files: this.#files, links: this.#leases });
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
