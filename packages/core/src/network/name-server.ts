import { jointPolicy, type NetNamespace, Resolver } from '@ns/netns';
import type { OpenedNetwork } from './opened-networks.ts';

/** Where a container on several networks asks for names, as in Docker. */
export const nameServerAddress = '127.0.0.11';

const KNOWN_FOR_MS = 100;

/**
 * A name server inside a container that is on several networks: each network's own knows only its names, and a program
 * that asks several takes the first one's no for an answer.
 */
export class NameServer {
  #resolver: Resolver | undefined;
  #stops: (() => void)[] = [];
  #readAtMs = 0;
  #reading: Promise<void> = Promise.resolve();

  get running(): boolean {
    return this.#resolver !== undefined;
  }

  /** Knows the names of these networks from now on, as far as the container's own policy lets it. */
  async follow(owner: string, netns: NetNamespace, networks: readonly OpenedNetwork[]): Promise<void> {
    await this.close();
    if (networks.length < 2 && networks.every(({ backend }) => backend.gateways.length > 0)) return;
    if (networks.length === 0) return;
    const out = networks.find(({ backend }) => !backend.record.internal) ?? networks[0]!;
    const upstreams =
      out.options.driver === 'macvlan' || out.options.driver === 'ipvlan' ? out.options.dns : out.backend.gateways;
    this.#resolver = await Resolver.start({
      netns,
      listen: [nameServerAddress],
      ...(upstreams && { upstreams }),
      policyFor: () => jointPolicy(networks.map(({ backend }) => backend.egressOf(owner))),
      // Other processes connect containers too.
      refresh: () => this.#refresh(networks),
    });
    // Read when somebody asks: of many who come and go at once, each would have all read the names of all.
    const outdate = () => {
      this.#readAtMs = 0;
    };
    this.#stops = networks.map((network) => network.onChange(outdate));
    outdate();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    await this.#resolver?.close();
    this.#resolver = undefined;
  }

  /** All questions of one moment wait for one reading, and no reading overtakes another. */
  #refresh(networks: readonly OpenedNetwork[]): Promise<void> {
    if (Date.now() - this.#readAtMs > KNOWN_FOR_MS) {
      this.#readAtMs = Date.now();
      this.#reading = this.#reading.catch(() => {}).then(() => this.#read(networks));
    }
    return this.#reading;
  }

  async #read(networks: readonly OpenedNetwork[]): Promise<void> {
    const lists = await Promise.all(networks.map(({ backend }) => backend.endpoints()));
    const table = this.#resolver?.names;
    if (!table) return;
    table.clear();
    for (const { owner, names, address, address6 } of lists.flat())
      for (const name of names)
        for (const one of [address, address6]) if (one !== undefined) table.add(owner, name, one);
  }
}
