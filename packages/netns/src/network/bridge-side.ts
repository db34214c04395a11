import { NetlinkError, type NetlinkSocket } from '@ns/netlink';
import type { AddressPool } from '../ipam/address-pool.ts';
import { indexOf } from '../link/link.ts';
import { LinkRemover } from '../link/link-remover.ts';
import { type NetnsReference, openSocket } from '../namespace-reference.ts';
import type { NetNamespace } from '../net-namespace.ts';
import type { Endpoint, NetworkRecord } from './network-state.ts';
import { plugContainer } from './plug-container.ts';

/** The bridge of a network, as containers are plugged into it: one socket for all of them, opened with the first. */
export class BridgeSide {
  readonly #netns: NetnsReference | undefined;
  readonly #record: NetworkRecord;
  readonly #pools: readonly AddressPool[];
  readonly #remover: LinkRemover;
  #socket: NetlinkSocket | undefined;
  #bridgeIndex: number | undefined;

  constructor(netns: NetnsReference | undefined, record: NetworkRecord, pools: readonly AddressPool[]) {
    this.#netns = netns;
    this.#record = record;
    this.#pools = pools;
    this.#remover = new LinkRemover(netns);
  }

  /** Makes a container's link. @throws LinkNameTakenError */
  plug(endpoint: Endpoint, inside: NetNamespace, wayOut: readonly string[]): void {
    this.#socket ??= openSocket(this.#netns);
    const socket = this.#socket;
    const { bridge } = this.#record;
    const plug = (bridgeIndex: number): void =>
      plugContainer(
        { netns: this.#netns, socket, bridgeIndex, record: this.#record, pools: this.#pools },
        endpoint,
        inside,
        wayOut,
      );
    const known = this.#bridgeIndex;
    this.#bridgeIndex = known ?? indexOf(socket, bridge);
    try {
      plug(this.#bridgeIndex);
    } catch (error) {
      if (known === undefined || !(error instanceof NetlinkError)) throw error;
      // Another process may have made the bridge anew.
      this.#bridgeIndex = indexOf(socket, bridge);
      if (this.#bridgeIndex === known) throw error;
      plug(this.#bridgeIndex);
    }
  }

  /** Removes a container's link, both ends of it. Idempotent. */
  unplug({ hostLink }: Endpoint): Promise<void> {
    return this.#remover.remove(hostLink);
  }

  /** Idempotent. */
  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }
}
