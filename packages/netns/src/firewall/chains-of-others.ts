import { readFileSync } from 'node:fs';
import { hasCode } from '@ns/libc';
import { chainPayload, type NetlinkSocket, nftablesType, rulesPayload } from '@ns/netlink';
import { type InNetns, insideReference } from '../namespace-reference.ts';
import { TABLE } from './ruleset.ts';

// <linux/netfilter.h>
export const NF_INET_FORWARD = 2;
const NF_INET_POST_ROUTING = 4;

// NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
const ipFamilies: readonly number[] = [1, 2, 10];

type Chain = ReturnType<typeof chainPayload.decode>;

/** All chains of all tables. */
export function listChains(socket: NetlinkSocket): Chain[] {
  return socket
    .dump({ type: nftablesType('GETCHAIN'), payload: chainPayload.encode({}), doing: 'list the chains of all tables' })
    .map((message) => chainPayload.decode(message.payload));
}

/** Has somebody else rules for what this host routes? Then he may count on it. */
export function doOthersRoute(socket: NetlinkSocket, options: InNetns): boolean {
  const isOthers = ({ family, attributes: { table, hook } }: Chain) =>
    table !== TABLE &&
    ipFamilies.includes(family) &&
    (hook?.number === NF_INET_FORWARD || hook?.number === NF_INET_POST_ROUTING);
  return listChains(socket).some((chain) => isOthers(chain) && hasRules(socket, chain)) || hasLegacyTables(options);
}

/** Those that distributions make ahead have none. */
function hasRules(socket: NetlinkSocket, { family, attributes: { table = '', name = '' } }: Chain): boolean {
  const payload = rulesPayload.encode({ family, attributes: { table, chain: name } });
  return socket.dump({ type: nftablesType('GETRULE'), payload, doing: `list the rules of chain ${name}` }).length > 0;
}

/** iptables-legacy has rules that nf_tables does not know. */
function hasLegacyTables({ netns }: InNetns): boolean {
  return ['ip_tables_names', 'ip6_tables_names'].some((file) =>
    insideReference(netns, () => {
      try {
        return readFileSync(`/proc/thread-self/net/${file}`, 'utf8') !== '';
      } catch (error) {
        if (hasCode(error, 'ENOENT', 'EACCES')) return false;
        throw error;
      }
    }),
  );
}
