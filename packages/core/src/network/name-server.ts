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
  #owners = new Set<string>();
  #readAtMs = 0;

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
      refresh: () => (Date.now() - this.#readAtMs > KNOWN_FOR_MS ? this.#read(networks) : undefined),
    });
    // What cannot be read now, of a network that is being removed, is read again at a query.
    const refresh = () => void this.#read(networks).catch(() => {});
    this.#stops = networks.map((network) => network.onChange(refresh));
    await this.#read(networks);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    await this.#resolver?.close();
    this.#resolver = undefined;
  }

  async #read(networks: readonly OpenedNetwork[]): Promise<void> {
    const lists = await Promise.all(networks.map(({ backend }) => backend.endpoints()));
    const table = this.#resolver?.names;
    if (!table) return;
    this.#readAtMs = Date.now();
    for (const owner of this.#owners) table.remove(owner);
    this.#owners = new Set();
    for (const { owner, names, address, address6 } of lists.flat()) {
      this.#owners.add(owner);
      for (const name of names)
        for (const one of [address, address6]) if (one !== undefined) table.add(owner, name, one);
    }
  }
}
