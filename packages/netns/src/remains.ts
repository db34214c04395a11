import { encodeRequests, NETLINK, type NetlinkRequest, nftablesBatch } from '@ns/netlink';
import { removeLinkRequest } from './link/change.ts';

/** What stays on the machine when the process that made it is killed, and how to take it out: `Belongings` of `@ns/launch`. */
export interface Remains {
  /** Messages for a netlink socket of this network namespace, each sent alone, in order, whatever became of those before. */
  readonly requests?: readonly { readonly protocol: number; readonly message: Buffer }[];
  /** The same, after the requests of everybody. */
  readonly lastRequests?: Remains['requests'];
  readonly files?: readonly string[];
  /** Symbolic links, each with its text: one with another text is somebody else's, and stays. */
  readonly links?: readonly { readonly path: string; readonly target: string }[];
  /** Directories with nothing but files in them. */
  readonly directories?: readonly string[];
  /** Directories that may be in use by others: only removed if they are empty. */
  readonly parents?: readonly string[];
}

/**
 * Is told of something before it is made. What it returns is disposed of when that is no longer there. Requests go first; links and
 * files after those of everybody.
 */
export type Entrust = (remains: Remains) => Disposable;

/** One thing that is entrusted, of which more becomes known as it is made. */
export class Entrusted implements Disposable {
  readonly #entrust: Entrust;
  #held: Disposable | undefined;

  constructor(entrust: Entrust) {
    this.#entrust = entrust;
  }

  /** In place of what it was until now. */
  is(remains: Remains): void {
    const before = this.#held;
    this.#held = this.#entrust(remains);
    before?.[Symbol.dispose]();
  }

  /** Idempotent. */
  [Symbol.dispose](): void {
    this.#held?.[Symbol.dispose]();
    this.#held = undefined;
  }
}

/** One of {@link Remains.requests}. */
export type RemovalMessage = NonNullable<Remains['requests']>[number];

/** The removal of a link. */
export function linkRemoval(name: string): RemovalMessage {
  return { protocol: NETLINK.ROUTE, message: encodeRequests([removeLinkRequest(name)]) };
}

/** A transaction of nf_tables. */
export function transactionMessage(requests: readonly NetlinkRequest[]): RemovalMessage {
  return { protocol: NETLINK.NETFILTER, message: encodeRequests(nftablesBatch(requests)) };
}
