import type { ResolvedAddress } from '../egress/opened-addresses.ts';

/** Decides which names a client may know, and is told what they resolved to: an {@link EgressPolicy}. */
export interface NamePolicy {
  /** May it know a name of the world outside? */
  allowsName(name: string): boolean;
  /** Opens addresses before they are answered; returns those that may be. */
  openResolved(name: string, addresses: readonly ResolvedAddress[]): readonly string[];
  /** May it know a container of its network by this name? */
  allowsNeighbour(name: string): boolean;
  /** Opens a container of its network. */
  openNeighbour(name: string, addresses: readonly ResolvedAddress[]): void;
}

/** What every one of several policies lets through; `undefined` for none. */
export function jointPolicy(policies: readonly (NamePolicy | undefined)[]): NamePolicy | undefined {
  const all = policies.filter((policy) => policy !== undefined);
  if (all.length < 2) return all[0];
  return {
    allowsName: (name) => all.every((policy) => policy.allowsName(name)),
    allowsNeighbour: (name) => all.every((policy) => policy.allowsNeighbour(name)),
    openResolved(name, addresses) {
      const answers = all.map((policy) => policy.openResolved(name, addresses));
      return addresses.flatMap(({ address }) => (answers.every((usable) => usable.includes(address)) ? [address] : []));
    },
    openNeighbour(name, addresses) {
      for (const policy of all) policy.openNeighbour(name, addresses);
    },
  };
}
