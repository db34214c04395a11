import { type NetlinkRequest, type NetlinkSocket, NLM_F, nftablesBatch } from '@ns/netlink';
import { NftError } from '../errors.ts';
import type { InNetns } from '../namespace-reference.ts';
import { assertRouted, type Family, routedForOurs } from './forwarding.ts';
import { type Ruleset, rulesetText, type SetName, TABLE, type TableFamily } from './ruleset.ts';
import { applyRuleset } from './run-nft.ts';
import { listElements } from './set-elements.ts';
import { chainRequest, rulesRemoval, setRemoval, tableRequest } from './table-requests.ts';
import { attempt, finds } from './transactions.ts';

/*
 * Our tables as a whole. Their rules come with the first network of a host and go with the last.
 *
 * nft may come to its work after whoever started it has died. So the empty table is there before, and nft takes it for granted:
 * whoever removes it, and then the table, leaves nothing that comes later.
 */

const ATTEMPTS = 20;
/** How nft says ENOENT. */
const ABSENCE = 'No such file or directory';

// What nobody who uses the tables is without: networks, their ports, containers with a policy of their own.
const inUse: Readonly<Record<TableFamily, readonly SetName[]>> = {
  inet: ['bridges', 'publish4', 'publish4_on', 'publish6', 'publish6_on'],
  bridge: ['policed'],
};
const families = Object.keys(inUse) as TableFamily[];

/** Makes a table, unless its rules are in the kernel already. */
export async function ensureTable(socket: NetlinkSocket, ruleset: Ruleset, options: InNetns): Promise<void> {
  const { family } = ruleset;
  for (let times = 1; !hasRules(socket, ruleset); times++) {
    socket.transaction(nftablesBatch([tableRequest('NEWTABLE', family)]));
    try {
      await applyRuleset(rulesetText(ruleset), `make table ${family} ${TABLE}`, options);
    } catch (error) {
      // Another process has removed it as unused, and a third may have made it anew by now.
      if (error instanceof NftError && error.stderr.includes(ABSENCE) && times < ATTEMPTS) continue;
      attempt(socket, emptyRemoval(family));
      throw error;
    }
  }
}

/** Removes the tables and all that is in them. Idempotent. */
export function removeTables(socket: NetlinkSocket): void {
  for (const family of families) if (hasTable(socket, family)) attempt(socket, [tableRequest('DELTABLE', family)]);
}

/**
 * Removes the tables when no network is left in them. Whoever adds one at the same time keeps them, or finds them missing.
 *
 * @returns versions of IP that the host has routed for them only
 */
export function removeUnusedTables(socket: NetlinkSocket): readonly Family[] {
  const isUsed = () =>
    families.some((family) => inUse[family].some((set) => listElements(socket, set, family).length > 0));
  // What the kernel refuses takes it milliseconds, so what it surely would is not sent.
  for (let times = 1; times < ATTEMPTS && !isUsed(); times++) {
    const routed = routedForOurs(socket);
    const removed = unusedTableRemovals(routed).filter(
      ({ family, requests }) => hasTable(socket, family) && attempt(socket, requests),
    );
    // Another process may have made it anew by now.
    if (removed.some(({ family }) => family === 'inet')) return routed;
    if (!hasTable(socket, 'inet')) return [];
  }
  return [];
}

/**
 * Transactions that one after another remove the tables if nobody uses them, whoever adds something meanwhile. Those that find
 * somebody are refused as a whole.
 *
 * @param routed - what else they are to find; left out, that does not matter
 */
export function unusedTableRemovals(routed?: readonly Family[]): {
  readonly family: TableFamily;
  readonly requests: readonly NetlinkRequest[];
}[] {
  const networks = { family: 'inet', requests: unusedRemoval('inet', routed) } as const;
  return [
    networks,
    // nft has not come to it, or did so between these.
    { family: 'inet', requests: emptyRemoval('inet') },
    networks,
    // Ports are of networks: refused while there is a table of networks.
    {
      family: 'bridge',
      requests: [
        tableRequest('NEWTABLE', 'inet', NLM_F.EXCL),
        tableRequest('DELTABLE', 'inet'),
        ...unusedRemoval('bridge'),
      ],
    },
  ];
}

/** A set that rules speak of, or that has elements, cannot be removed: EBUSY, and everything stays. */
function unusedRemoval(family: TableFamily, routed?: readonly Family[]): NetlinkRequest[] {
  const context = { family, doing: `remove what is in table ${family} ${TABLE}` };
  return [
    rulesRemoval({}, context),
    ...(routed ? assertRouted(routed) : []),
    ...inUse[family].map((name) => setRemoval(name, { ...context, flags: NLM_F.NONREC })),
    tableRequest('DELTABLE', family),
  ];
}

function emptyRemoval(family: TableFamily): NetlinkRequest[] {
  return [tableRequest('DELTABLE', family, NLM_F.NONREC)];
}

function hasTable(socket: NetlinkSocket, family: TableFamily): boolean {
  return finds(socket, tableRequest('GETTABLE', family));
}

function hasRules(socket: NetlinkSocket, { family, marker }: Ruleset): boolean {
  return finds(
    socket,
    chainRequest('GETCHAIN', marker, { family, doing: `look for the rules of table ${family} ${TABLE}` }),
  );
}
