import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { hasCode, stateRoot } from '@ns/libc';
import { readOptions, removeDrafts, storedNames, takeOver } from './network-store.ts';
import { goneOwners, ownerLabel, unmarkOwner } from './owner-mark.ts';

/** What {@link pruneNetworks} removed. */
export interface PrunedNetworks {
  /** Networks that were a container's own, and those whose making or removal was cut short. */
  readonly networks: readonly string[];
  /** Ids of containers that were disconnected. */
  readonly endpoints: readonly string[];
  readonly failed: readonly { readonly name: string; readonly error: unknown }[];
}

/** Removes what containers that are gone have left: links, addresses, ports, and networks that were theirs alone. */
export async function pruneNetworks(): Promise<PrunedNetworks> {
  removeDrafts();
  const names = storedNames();
  const { holdNetwork, forgetNetwork, pruneUnfinishedNetworks, removeOwnNetwork } = await import(
    './opened-networks.ts'
  );
  const networks = names.length > 0 ? await pruneUnfinishedNetworks() : [];
  const endpoints = new Set<string>();
  const failed: { name: string; error: unknown }[] = [];
  const isGone = goneOwners();
  for (const name of names.filter((one) => !networks.includes(one))) {
    try {
      const owner = readOptions(name)?.labels?.[ownerLabel];
      if (owner !== undefined && isGone(owner)) {
        await removeOwnNetwork(name);
        networks.push(name);
        endpoints.add(owner);
        continue;
      }
      const { network, release } = await holdNetwork(name);
      try {
        for (const id of await network.backend.prune(isGone)) endpoints.add(id);
      } finally {
        await release();
      }
    } catch (error) {
      if (!hasCode(error, 'ERR_NS_NETWORK_NOT_FOUND')) failed.push({ name, error });
      else if (takeOver(name)) {
        await forgetNetwork(name);
        networks.push(name);
      }
    }
  }
  for (const id of markedOwners()) if (isGone(id)) unmarkOwner(id);
  return { networks, endpoints: [...endpoints], failed };
}

function markedOwners(): string[] {
  try {
    return readdirSync(join(stateRoot(), 'network-owners'));
  } catch {
    return [];
  }
}
