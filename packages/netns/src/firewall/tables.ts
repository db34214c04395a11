import {
  chainPayload,
  generationPayload,
  NetlinkError,
  type NetlinkSocket,
  nftablesBatch,
  nftablesType,
  tablePayload,
} from '@ns/netlink';
import type { InNetns } from '../namespace-reference.ts';
import { portRuleset } from './port-ruleset.ts';
import { networkRuleset, type Ruleset, rulesetText, type SetName, TABLE, type TableFamily } from './ruleset.ts';
import { applyRuleset } from './run-nft.ts';
import { familyNumbers, isMissing, listElements } from './set-elements.ts';

/* Our tables as a whole. Their rules come with the first network of a host and go with the last. */

const ATTEMPTS = 20;

// What nobody who uses the tables is without: networks, their ports, containers with a policy of their own.
const inUse: readonly (readonly [SetName, TableFamily])[] = [
  ['bridges', 'inet'],
  ['publish4', 'inet'],
  ['publish4_on', 'inet'],
  ['publish6', 'inet'],
  ['publish6_on', 'inet'],
  ['policed', 'bridge'],
];

/** Makes a table, unless its rules are in the kernel already. */
export async function ensureTable(socket: NetlinkSocket, ruleset: Ruleset, options: InNetns): Promise<void> {
  if (hasRules(socket, ruleset)) return;
  await applyRuleset(rulesetText(ruleset), `make table ${ruleset.family} ${TABLE}`, options);
}

/** Removes the tables and all that is in them. Idempotent. */
export function removeTables(socket: NetlinkSocket): void {
  removeUnchanged(socket, () => true);
}

/**
 * Removes the tables when no network is left in them. Whoever adds one at the same time, from whatever process, keeps them
 * or finds them missing: the kernel does not remove what has changed since it was looked at.
 */
export function removeUnusedTables(socket: NetlinkSocket): void {
  removeUnchanged(socket, () => inUse.every(([set, family]) => listElements(socket, set, family).length === 0));
}

function removeUnchanged(socket: NetlinkSocket, isUnused: () => boolean): void {
  for (let attempt = 1; ; attempt++) {
    const generation = currentGeneration(socket);
    const families = [networkRuleset, portRuleset]
      .map(({ family }) => family)
      .filter((family) => finds(socket, 'GETTABLE', tablePayload.encode(tableOf(family))));
    if (families.length === 0 || !isUnused()) return;
    const requests = families.map((family) => ({
      type: nftablesType('DELTABLE'),
      payload: tablePayload.encode(tableOf(family)),
      doing: `remove table ${family} ${TABLE}`,
    }));
    try {
      socket.transaction(nftablesBatch(requests, { generation }));
      return;
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== 'ERESTART' || attempt === ATTEMPTS) throw error;
    }
  }
}

function tableOf(family: TableFamily): { family: number; attributes: { name: string } } {
  return { family: familyNumbers[family], attributes: { name: TABLE } };
}

function hasRules(socket: NetlinkSocket, { family, marker }: Ruleset): boolean {
  const attributes = { table: TABLE, name: marker };
  return finds(socket, 'GETCHAIN', chainPayload.encode({ family: familyNumbers[family], attributes }));
}

function finds(socket: NetlinkSocket, message: 'GETTABLE' | 'GETCHAIN', payload: Buffer): boolean {
  try {
    socket.request({ type: nftablesType(message), payload, doing: `look for our table` });
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function currentGeneration(socket: NetlinkSocket): number {
  const request = {
    type: nftablesType('GETGEN'),
    payload: generationPayload.encode({}),
    doing: 'ask what rules there are',
  };
  const [answer] = socket.request(request);
  return generationPayload.decode(answer!.payload).attributes.id!;
}
