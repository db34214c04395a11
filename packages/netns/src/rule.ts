import { AF, SpecError } from '@ns/libc';
import { FR_ACT, type NetlinkRequest, NLM_F, RTM, type RuleAttributes, rulePayload } from '@ns/netlink';
import { parseCidr } from './cidr.ts';
import { optional } from './link/create.ts';
import { checkLinkName } from './link/link.ts';
import { nameTable, tables } from './names.ts';
import { type InNetns, withSocket } from './namespace-reference.ts';

/** A policy routing rule to add or remove. */
export interface RuleSpec extends InNetns {
  /** Source subnet; default all. */
  readonly from?: string;
  /** Destination subnet; default all. */
  readonly to?: string;
  /** Table to look in: a number, or `main`, `local`, `default`. */
  readonly table?: number | string;
  /** What to do instead of looking in a table. */
  readonly action?: 'lookup' | 'blackhole' | 'unreachable' | 'prohibit';
  /** Rules are tried in rising order. Default: before all others but 0. */
  readonly priority?: number;
  /** Firewall mark of the packet. */
  readonly mark?: number;
  readonly markMask?: number;
  /** Link the packet came in by. */
  readonly inputLink?: string;
  /** Link a local socket is bound to. */
  readonly outputLink?: string;
  /** Needed only when neither `from` nor `to` tells it. Default `inet`. */
  readonly family?: 'inet' | 'inet6';
}

/** A policy routing rule, with what `ip rule` knows. */
export interface Rule {
  readonly family: 'inet' | 'inet6';
  readonly priority: number;
  /** `all` or a subnet. */
  readonly from: string;
  readonly to: string;
  readonly table: string | undefined;
  readonly action: string;
  readonly mark: number | undefined;
  readonly markMask: number | undefined;
  readonly inputLink: string | undefined;
  readonly outputLink: string | undefined;
}

const actions = nameTable({
  lookup: FR_ACT.TO_TBL,
  goto: FR_ACT.GOTO,
  nop: FR_ACT.NOP,
  blackhole: FR_ACT.BLACKHOLE,
  unreachable: FR_ACT.UNREACHABLE,
  prohibit: FR_ACT.PROHIBIT,
});

/** Adds a rule: RTM_NEWRULE. Needs CAP_NET_ADMIN and CONFIG_IP_MULTIPLE_TABLES. EEXIST when it is there. */
export async function add(rule: RuleSpec): Promise<void> {
  withSocket(rule.netns, (socket) => socket.request(ruleRequest(RTM.NEWRULE, NLM_F.CREATE | NLM_F.EXCL, rule)));
}

/** Removes the first rule that matches: RTM_DELRULE. ENOENT when there is none. */
export async function remove(rule: RuleSpec): Promise<void> {
  withSocket(rule.netns, (socket) => socket.request(ruleRequest(RTM.DELRULE, 0, rule)));
}

function ruleRequest(type: number, flags: number, rule: RuleSpec): NetlinkRequest {
  const from = rule.from === undefined || rule.from === 'all' ? undefined : parseCidr(rule.from, 'from');
  const to = rule.to === undefined || rule.to === 'all' ? undefined : parseCidr(rule.to, 'to');
  if (from && to && from.family !== to.family) throw new SpecError('to', 'the address family of from', rule.to);
  const table = rule.table === undefined ? undefined : tables.numberOf(rule.table);
  if (rule.table !== undefined && table === undefined)
    throw new SpecError('table', 'main, local, default or a number', rule.table);
  const action = rule.action ?? (table === undefined ? undefined : 'lookup');
  if (action === undefined && type === RTM.NEWRULE)
    throw new SpecError('table', 'a table, or another action', undefined);
  const attributes: RuleAttributes = optional({
    source: from?.address,
    destination: to?.address,
    mark: rule.mark,
    markMask: rule.markMask,
    table,
    priority: rule.priority,
    inputName: rule.inputLink === undefined ? undefined : checkLinkName(rule.inputLink, 'inputLink'),
    outputName: rule.outputLink === undefined ? undefined : checkLinkName(rule.outputLink, 'outputLink'),
  });
  return {
    type,
    flags,
    payload: rulePayload.encode({
      family: from?.family ?? to?.family ?? (rule.family === 'inet6' ? AF.INET6 : AF.INET),
      sourceLength: from?.prefixLength ?? 0,
      destinationLength: to?.prefixLength ?? 0,
      // A byte; the attribute has the whole number.
      table: table !== undefined && table <= 255 ? table : 0,
      action: action === undefined ? FR_ACT.UNSPEC : actions.numberOf(action)!,
      attributes,
    }),
    doing: `${type === RTM.NEWRULE ? 'add' : 'remove'} routing rule from ${rule.from ?? 'all'} to ${rule.to ?? 'all'}`,
  };
}

/** All rules, or those of one family: RTM_GETRULE. Needs no privilege. */
export async function list(options: InNetns & { readonly family?: 'inet' | 'inet6' } = {}): Promise<Rule[]> {
  const family = options.family === undefined ? 0 : options.family === 'inet' ? AF.INET : AF.INET6;
  return withSocket(options.netns, (socket) =>
    socket
      .dump({ type: RTM.GETRULE, payload: rulePayload.encode({ family }), doing: 'list routing rules' })
      .map((message) => {
        const { attributes, ...header } = rulePayload.decode(message.payload);
        const looksUp = header.action === FR_ACT.TO_TBL;
        return {
          family: header.family === AF.INET ? ('inet' as const) : ('inet6' as const),
          priority: attributes.priority ?? 0,
          from: subnet(attributes.source, header.sourceLength),
          to: subnet(attributes.destination, header.destinationLength),
          table: looksUp ? tables.nameOf(attributes.table ?? header.table) : undefined,
          action: actions.nameOf(header.action),
          mark: attributes.mark,
          markMask: attributes.markMask,
          inputLink: attributes.inputName,
          outputLink: attributes.outputName,
        };
      }),
  );
}

function subnet(address: string | undefined, prefixLength: number): string {
  if (address === undefined) return 'all';
  const bits = address.includes(':') ? 128 : 32;
  return prefixLength === bits ? address : `${address}/${prefixLength}`;
}
