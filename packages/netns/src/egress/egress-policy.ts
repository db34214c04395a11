import { SpecError } from '@ns/libc';
import { NetlinkError, type NetlinkSocket } from '@ns/netlink';
import type { Firewall } from '../firewall/firewall.ts';
import { TABLE } from '../firewall/ruleset.ts';
import { applyRuleset } from '../firewall/run-nft.ts';
import {
  addElements,
  addressField,
  type Element,
  linkField,
  listElements,
  type Protocol,
  portField,
  protocolField,
  refreshElement,
  removeElements,
} from '../firewall/set-elements.ts';
import { addressNumber, contains } from '../ipam/subnet.ts';
import { checkLinkName } from '../link/link.ts';
import {
  closedSubnets,
  type EgressOptions,
  matchesName,
  type NameRule,
  parseEgressRule,
  type SubnetRule,
} from './egress-rule.ts';
import { type RefusedConnection, refusedConnections } from './refused-connections.ts';

/** Where a policy holds. */
export interface EgressPlace {
  readonly firewall: Firewall;
  readonly bridge: string;
  /** Group of the kernel's packet log for refused connections; one program at a time can listen to it. */
  readonly logGroup: number;
}

/** An address a resolver answered, and for how long. */
export interface ResolvedAddress {
  readonly address: string;
  readonly ttlSec: number;
}

// A connection follows the answer at once, but not in zero seconds.
const MIN_OPEN_MS = 2_000;

/**
 * What a bridge network may connect to, enforced by the kernel: addresses by nftables rules; names by the network's
 * resolver, which opens exactly the addresses it answered, for their time to live. Without a policy a network may connect
 * to everything; with one, private and metadata addresses are closed in either mode unless `allow` has them.
 *
 * The policy is that of the bridge, so a container cannot escape it by choosing another source address. It is asked when a
 * connection begins: one that exists goes on. Refused connections are reset or answered with ICMP, and reported.
 */
export class EgressPolicy {
  readonly #firewall: Firewall;
  readonly #bridge: string;
  readonly #group: number;
  #options: EgressOptions = {};
  #subnets: readonly SubnetRule[] = [];
  #names: readonly NameRule[] = [];
  readonly #openUntil = new Map<string, number>();

  private constructor(firewall: Firewall, bridge: string, group: number) {
    this.#firewall = firewall;
    this.#bridge = bridge;
    this.#group = group;
  }

  /**
   * Puts a policy on a bridge.
   *
   * @throws SpecError for a rule that cannot be read; UnavailableError without nft
   */
  static async apply(options: EgressPlace & { readonly policy: EgressOptions }): Promise<EgressPolicy> {
    const policy = EgressPolicy.#at(options);
    await policy.change(options.policy);
    return policy;
  }

  /** Takes part in a policy that the bridge has, put there by whatever process; what is open stays open. */
  static attach(options: EgressPlace & { readonly policy: EgressOptions }): EgressPolicy {
    const policy = EgressPolicy.#at(options);
    policy.follow(options.policy);
    return policy;
  }

  static #at({ firewall, bridge, logGroup }: EgressPlace): EgressPolicy {
    checkLinkName(bridge, 'bridge');
    // It becomes part of an nft script.
    if (!/^[\w.-]+$/.test(bridge))
      throw new SpecError('bridge', 'letters, digits, dots, dashes and underscores', bridge);
    if (!Number.isInteger(logGroup) || logGroup < 1 || logGroup > 65535)
      throw new SpecError('logGroup', 'a number from 1 to 65535', logGroup);
    return new EgressPolicy(firewall, bridge, logGroup);
  }

  get options(): EgressOptions {
    return this.#options;
  }

  /** Replaces the rules in one transaction; addresses the resolver opened under the old ones are closed. */
  async change(options: EgressOptions): Promise<void> {
    const { subnets } = readRules(options);
    await applyRuleset(this.#script(options.default ?? 'deny', subnets), `set the egress policy of ${this.#bridge}`, {
      netns: this.#firewall.netns,
    });
    this.#closeResolved();
    this.follow(options);
  }

  /** Another process changed the policy in the kernel: names are answered by the new one from now on. */
  follow(options: EgressOptions): void {
    const { subnets, names } = readRules(options);
    this.#options = options;
    this.#subnets = subnets;
    this.#names = names;
    this.#openUntil.clear();
  }

  /** May the resolver answer this name at all? */
  allowsName(name: string): boolean {
    return this.#options.default === 'allow' || this.#rulesFor(name).length > 0;
  }

  /**
   * Opens what a name resolved to. Addresses in closed subnets are left out: a name somebody else controls must not lead
   * to this network's insides (DNS rebinding).
   *
   * @returns the addresses that may be answered
   */
  openResolved(name: string, addresses: readonly ResolvedAddress[]): string[] {
    const usable = addresses.filter(({ address }) => this.#reachable(address));
    if (this.#options.default !== 'allow') {
      const rules = this.#rulesFor(name);
      for (const resolved of usable)
        for (const rule of rules) for (const element of this.#elements(resolved, rule)) this.#open(element);
    }
    return usable.map(({ address }) => address);
  }

  /**
   * Refused connections, as they are refused. At most 1,000 a second are reported. Needs CAP_NET_ADMIN.
   */
  refused(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<RefusedConnection, void, undefined> {
    return refusedConnections({ netns: this.#firewall.netns, group: this.#group, ...options });
  }

  /** Takes the policy off: the network may connect to everything again. Idempotent. */
  async remove(): Promise<void> {
    this.#closeResolved();
    const { refuse, egress, guard } = this.#chains;
    const names = [egress, guard, refuse];
    const lines = [
      ...names.map((name) => `add chain inet ${TABLE} ${name}`),
      ...this.#verdicts('add'),
      ...this.#verdicts('delete'),
      ...names.map((name) => `flush chain inet ${TABLE} ${name}`),
      ...names.map((name) => `delete chain inet ${TABLE} ${name}`),
    ];
    await applyRuleset(`${lines.join('\n')}\n`, `remove the egress policy of ${this.#bridge}`, {
      netns: this.#firewall.netns,
    });
  }

  get #chains(): { refuse: string; egress: string; guard: string } {
    // Link names may have characters that nft does not take in the name of a chain.
    const id = Buffer.from(this.#bridge).toString('hex');
    return { refuse: `refuse_${id}`, egress: `egress_${id}`, guard: `guard_${id}` };
  }

  #verdicts(verb: 'add' | 'delete'): string[] {
    const { egress, guard } = this.#chains;
    return [
      `${verb} element inet ${TABLE} egress { "${this.#bridge}" : jump ${egress} }`,
      `${verb} element inet ${TABLE} guarded { "${this.#bridge}" : jump ${guard} }`,
    ];
  }

  #script(otherwise: 'deny' | 'allow', subnets: readonly SubnetRule[]): string {
    const { refuse, egress, guard } = this.#chains;
    const rules: Readonly<Record<string, readonly string[]>> = {
      [refuse]: [
        `limit rate 1000/second log prefix "${this.#bridge}" group ${this.#group} snaplen 128`,
        'meta l4proto tcp reject with tcp reset',
        'reject with icmpx admin-prohibited',
      ],
      [egress]: [
        `oifname "${this.#bridge}" return`,
        'iifname . ip daddr . meta l4proto . th dport @opened4 return',
        'iifname . ip daddr @opened4_any return',
        'iifname . ip6 daddr . meta l4proto . th dport @opened6 return',
        'iifname . ip6 daddr @opened6_any return',
        ...subnets.map((rule) => `${destination(rule.subnet)} ${limit(rule)}return`),
        ...closedSubnets.map((subnet) => `${destination(subnet)} goto ${refuse}`),
        otherwise === 'allow' ? 'return' : `goto ${refuse}`,
      ],
      [guard]: [
        // The gateway of this bridge, not another network's: its resolver would pass on any name.
        'fib daddr . iif type local meta l4proto { tcp, udp } th dport 53 accept',
        'icmp type echo-request accept',
        'icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld-listener-query, mld-listener-report, mld2-listener-report } accept',
        ...subnets.map((rule) => `${destination(rule.subnet)} ${limit(rule)}accept`),
        `goto ${refuse}`,
      ],
    };
    const names = [refuse, egress, guard];
    return [
      ...names.flatMap((name) => [`add chain inet ${TABLE} ${name}`, `flush chain inet ${TABLE} ${name}`]),
      ...names.flatMap((name) => rules[name]!.map((rule) => `add rule inet ${TABLE} ${name} ${rule}`)),
      ...this.#verdicts('add'),
      '',
    ].join('\n');
  }

  #add(element: Element, openUntil: number): void {
    const { socket } = this.#firewall;
    // What we think of as open may have run out this moment, and what we do not know may be open from an earlier process.
    const [likely, otherwise] = openUntil > Date.now() ? [refreshElement, addElement] : [addElement, refreshElement];
    try {
      likely(socket, element);
    } catch (error) {
      if (!(error instanceof NetlinkError) || (error.code !== 'ENOENT' && error.code !== 'EEXIST')) throw error;
      otherwise(socket, element);
    }
  }

  #closeResolved(): void {
    const { socket } = this.#firewall;
    const mine = linkField(this.#bridge);
    for (const set of ['opened4', 'opened4_any', 'opened6', 'opened6_any'] as const) {
      const elements = listElements(socket, set).filter((element) =>
        element.key?.value?.subarray(0, mine.length).equals(mine),
      );
      const doing = `close what ${this.#bridge} had open`;
      removeElements(
        socket,
        elements.map(({ key }) => ({ set, elements: [key === undefined ? {} : { key }], doing })),
      );
    }
    this.#openUntil.clear();
  }

  #rulesFor(name: string): NameRule[] {
    return this.#names.filter((rule) => matchesName(rule, name));
  }

  #reachable(address: string): boolean {
    const family = address.includes(':') ? 'inet6' : 'inet';
    const number = addressNumber(address);
    const inside = (subnet: { family: string } & Parameters<typeof contains>[0]): boolean =>
      subnet.family === family && contains(subnet, number);
    return !closedSubnets.some(inside) || this.#subnets.some((rule) => inside(rule.subnet));
  }

  #elements({ address, ttlSec }: ResolvedAddress, rule: NameRule): Element[] {
    const version = address.includes(':') ? '6' : '4';
    const doing = `open ${address} to ${this.#bridge}`;
    const timeoutMs = BigInt(Math.max(ttlSec * 1000, MIN_OPEN_MS));
    const key = [linkField(this.#bridge), addressField(address)];
    if (rule.port === undefined)
      return [{ set: `opened${version}_any`, elements: [{ key: { value: Buffer.concat(key) }, timeoutMs }], doing }];
    const protocols: readonly Protocol[] = rule.protocol === undefined ? ['tcp', 'udp'] : [rule.protocol];
    return protocols.map((protocol) => ({
      set: `opened${version}`,
      elements: [
        { key: { value: Buffer.concat([...key, protocolField(protocol), portField(rule.port!)]) }, timeoutMs },
      ],
      doing,
    }));
  }

  #open(element: Element): void {
    const key = `${element.set} ${element.elements[0]!.key!.value!.toString('hex')}`;
    const now = Date.now();
    const until = now + Number(element.elements[0]!.timeoutMs);
    const open = this.#openUntil.get(key) ?? 0;
    // Several names may share an address: the one that lives longest counts.
    if (open >= until) return;
    this.#add(element, open);
    for (const [old, end] of this.#openUntil) if (end < now) this.#openUntil.delete(old);
    this.#openUntil.set(key, until);
  }
}

function readRules({ allow = [] }: EgressOptions): { subnets: SubnetRule[]; names: NameRule[] } {
  const rules = allow.map((text, index) => parseEgressRule(text, `egress.allow[${index}]`));
  return {
    subnets: rules.filter((rule) => rule.kind === 'subnet'),
    names: rules.filter((rule) => rule.kind === 'name'),
  };
}

function addElement(socket: NetlinkSocket, element: Element): void {
  addElements(socket, [element]);
}

function destination(subnet: SubnetRule['subnet']): string {
  return `${subnet.family === 'inet' ? 'ip' : 'ip6'} daddr ${subnet.text}`;
}

function limit({ port, protocol }: SubnetRule): string {
  if (port !== undefined)
    return protocol === undefined ? `meta l4proto { tcp, udp } th dport ${port} ` : `${protocol} dport ${port} `;
  return protocol === undefined ? '' : `meta l4proto ${protocol} `;
}
