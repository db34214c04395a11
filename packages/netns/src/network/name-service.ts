import { hasCode, type OwnedFd } from '@ns/libc';
import type { NamePolicy } from '../dns/name-policy.ts';
import { Resolver } from '../dns/resolver.ts';
import { NameServerTakenError } from '../errors.ts';
import type { NetnsReference } from '../namespace-reference.ts';
import type { Endpoint, NetworkRecord, NetworkState } from './network-state.ts';

/** What a network's names are served from. */
export interface NameServiceOptions {
  readonly network: string;
  readonly netns: NetnsReference | undefined;
  readonly state: NetworkState;
  /** Addresses of the bridge. */
  readonly listen: readonly string[];
  readonly upstreams: readonly string[] | undefined;
  readonly policyFor: (client: string) => NamePolicy | undefined;
  /** Called when the records have changed, before a question is answered. */
  readonly onRecords: (record: NetworkRecord, endpoints: readonly Endpoint[]) => Promise<void>;
}

const TAKEOVER_INTERVAL_MS = 500;
const TICK_MS = 50;

/**
 * The names of a network, served by one of the processes that have it open: the one with the lock. When that one ends,
 * whatever it dies of, another goes on.
 */
export class NameService {
  readonly #options: NameServiceOptions;
  #resolver: Resolver | undefined;
  #lock: OwnedFd | undefined;
  #taken: NameServerTakenError | undefined;
  #takeover: NodeJS.Timeout | undefined;
  #namesFromMs = 0;

  constructor(options: NameServiceOptions) {
    this.#options = options;
  }

  /** Serves the names, or waits for the one that does to end. */
  async start(): Promise<void> {
    if (await this.#serve()) return;
    this.#takeover = setInterval(async () => {
      if (await this.#serve().catch(() => false)) clearInterval(this.#takeover);
    }, TAKEOVER_INTERVAL_MS).unref();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    clearInterval(this.#takeover);
    await this.#resolver?.close();
    this.#resolver = undefined;
    this.#lock?.close();
    this.#lock = undefined;
  }

  /**
   * Who is on the network asks one of us, as far as this process knows.
   *
   * @throws NameServerTakenError: it asks a program that knows nothing of its names and its policy
   */
  assertOurs(): void {
    if (this.#taken) throw this.#taken;
  }

  /** False: somebody else serves the network's names. */
  async #serve(): Promise<boolean> {
    const { network, netns, listen, upstreams, policyFor, state } = this.#options;
    const lock = state.lockNames(network);
    if (!lock) return false;
    try {
      this.#resolver = await Resolver.start({
        netns,
        listen,
        ...(upstreams && { upstreams }),
        policyFor,
        refresh: () => this.#readRecords(),
      });
      this.#lock = lock;
      this.#taken = undefined;
      return true;
    } catch (error) {
      lock.close();
      if (!hasCode(error, 'EADDRINUSE')) throw error;
      this.#taken = new NameServerTakenError(network, listen, error);
      return false;
    }
  }

  /** Names and policies as they are on disk, where all processes of the network write. */
  async #readRecords(): Promise<void> {
    const { network, state, onRecords } = this.#options;
    const changedMs = state.changedAtMs(network);
    if (changedMs === this.#namesFromMs) return;
    const record = await state.read(network);
    const endpoints = await state.endpoints(network);
    const table = this.#resolver?.names;
    if (!table || !record) return;
    await onRecords(record, endpoints);
    // File systems count time in ticks: what is written in the same one would go unseen.
    this.#namesFromMs = Date.now() - changedMs > TICK_MS ? changedMs : 0;
    table.clear();
    for (const { owner, names, address, address6 } of endpoints)
      for (const name of names)
        for (const one of [address, address6]) if (one !== undefined) table.add(owner, name, one);
  }
}
