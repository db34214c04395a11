import { NETLINK } from '@ns/netlink';
import { type InNetns, openSocket } from '../namespace-reference.ts';
import { listChains, NF_INET_FORWARD } from './chains-of-others.ts';
import { TABLE } from './ruleset.ts';

/** A chain of somebody else's that keeps forwarded packets of our networks back. */
export interface ForwardingObstacle {
  /** `ip` (where iptables-nft and Docker have theirs), `ip6`, `inet` */
  readonly family: 'ip' | 'ip6' | 'inet';
  readonly table: string;
  readonly chain: string;
  readonly why: string;
  /** Commands that let a bridge through, for whoever owns those rules to run. */
  readonly fix: readonly string[];
}

const families = { 1: 'inet', 2: 'ip', 10: 'ip6' } as const;
const NF_DROP = 0;

/**
 * Looks for chains of other tables that would drop what our networks forward: in nftables every table must agree, and
 * rules of others are theirs to change, so all that can be done is to say it. Found are chains on the forward hook with
 * policy drop (iptables-nft, Docker's since 2017), and firewalld's, which ends in a reject. Rules of iptables-legacy are not seen.
 *
 * Needs CAP_NET_ADMIN.
 *
 * @param bridge - for the commands of {@link ForwardingObstacle.fix}
 * @example
 * for (const { why, fix } of findForwardingObstacles('br0')) console.warn(why, fix);
 */
export function findForwardingObstacles(bridge: string, options: InNetns = {}): ForwardingObstacle[] {
  using socket = openSocket(options.netns, { protocol: NETLINK.NETFILTER });
  const chains = listChains(socket);
  return chains.flatMap(({ family, attributes }) => {
    const { table = '', name = '', hook, policy } = attributes;
    const known = families[family as keyof typeof families];
    if (known === undefined || table === TABLE || hook?.number !== NF_INET_FORWARD) return [];
    const place = { family: known, table, chain: name };
    if (table === 'firewalld')
      return [
        {
          ...place,
          why: 'firewalld rejects what it forwards unless a zone lets it through',
          fix: [`firewall-cmd --permanent --zone=trusted --add-interface=${bridge}`, 'firewall-cmd --reload'],
        },
      ];
    if (policy !== NF_DROP) return [];
    const docker = chains.some(
      (other) => other.family === family && other.attributes.table === table && other.attributes.name === 'DOCKER-USER',
    );
    const why = `chain ${name} of table ${known} ${table} drops what no rule of it accepts`;
    return [{ ...place, why, fix: fixFor(place, docker, bridge) }];
  });
}

function fixFor(
  { family, table, chain }: { family: string; table: string; chain: string },
  docker: boolean,
  bridge: string,
): string[] {
  // Tables named like those of iptables are its own: nft warns against changing them behind its back.
  if (table === 'filter' && family !== 'inet') {
    const program = family === 'ip' ? 'iptables' : 'ip6tables';
    const target = docker ? 'DOCKER-USER' : chain;
    return [
      `${program} -I ${target} -i ${bridge} -j ACCEPT`,
      `${program} -I ${target} -o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT`,
    ];
  }
  return [
    `nft insert rule ${family} ${table} ${chain} iifname "${bridge}" accept`,
    `nft insert rule ${family} ${table} ${chain} oifname "${bridge}" ct state established,related accept`,
    `nft insert rule ${family} ${table} ${chain} oifname "${bridge}" ct status dnat accept`,
  ];
}
