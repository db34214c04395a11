import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode, stateRoot } from '@ns/libc';
import { readOptions, removeDrafts, storedNames, takeOver } from './network-store.ts';
import { goneOwners, hasMark, makerLives, ownerLabel, unmarkOwner } from './owner-mark.ts';
import { nameOnNetworks } from './rename-on-networks.ts';

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
  const { pruneUnfinishedNetworks } = await import('./opened-networks.ts');
  const unfinished = storedNames().length > 0 ? await pruneUnfinishedNetworks() : [];
  const { networks, endpoints, failed } = await leaveNetworks(goneOwners());
  return { networks: [...unfinished, ...networks], endpoints, failed: [...failed, ...(await nameAll())] };
}

/** Whoever renamed a container may have been killed before its networks knew. */
async function nameAll(): Promise<PrunedNetworks['failed']> {
  const failed: { name: string; error: unknown }[] = [];
  for (const id of markedOwners()) await nameOnNetworks(id).catch((error) => failed.push({ name: id, error }));
  return failed;
}

/** So long who made a container may take to hear of its end and leave its networks, if he is not being killed. */
const MAKER_MS = 2_000;

/** The same of one container that has ended, where who made it does not do it. */
export async function leaveNetworksOf(id: string): Promise<void> {
  for (const begin = performance.now(); hasMark(id); await delay(5)) {
    if (!makerLives(id)) return void (await leaveNetworks((one) => one === id));
    if (performance.now() - begin > MAKER_MS) return;
  }
}

async function leaveNetworks(isGone: (id: string) => boolean): Promise<PrunedNetworks> {
  const { holdNetwork, forgetNetwork, removeOwnNetwork } = await import('./opened-networks.ts');
  const networks: string[] = [];
  const endpoints = new Set<string>();
  const failed: { name: string; error: unknown }[] = [];
  for (const name of storedNames()) {
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
  // Who is on a network still is known by its mark.
  if (failed.length === 0) for (const id of markedOwners()) if (isGone(id)) unmarkOwner(id);
  return { networks, endpoints: [...endpoints], failed };
}

function markedOwners(): string[] {
  try {
    return readdirSync(join(stateRoot(), 'network-owners'));
  } catch {
    return [];
  }
}
