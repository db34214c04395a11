import type { Firewall } from '../firewall/firewall.ts';
import { applyRuleset } from '../firewall/run-nft.ts';
import { cutConnections } from './cut-connections.ts';
import { beginPolicy, removePolicy } from './egress-removal.ts';
import { closedSubnets, type EgressOptions } from './egress-rule.ts';
import { policyScript } from './egress-ruleset.ts';
import { type EgressPlace, type EgressScope, egressScope } from './egress-scope.ts';
import { OpenedAddresses, type ResolvedAddress } from './opened-addresses.ts';
import { isIn, PolicyRules } from './policy-rules.ts';
import { type RefusedConnection, type RefusedOptions, refusedConnections } from './refused-connections.ts';

/**
 * What a bridge network, or one container on it, may connect to, enforced by the kernel: addresses by nftables rules;
 * names by the network's resolver, which opens exactly the addresses it answered, for their time to live. Without a
 * policy everything may be connected to; with one, private and metadata addresses are closed in either mode unless
 * `allow` has them.
 *
 * The policy of a network is that of the bridge, so a container cannot escape it by choosing another source address, and
 * it speaks of what is outside. That of a container is of the addresses its port is pinned to, and speaks of its
 * neighbours too. A connection that both speak of needs the consent of both.
 *
 * It is asked when a connection begins: one that exists goes on until the policy is changed. Refused connections are reset
 * or answered with ICMP, and reported.
 */
export class EgressPolicy {
  readonly #firewall: Firewall;
  readonly #place: EgressPlace;
  readonly #scope: EgressScope;
  readonly #opened: OpenedAddresses;
  #options: EgressOptions = {};
  #rules = new PolicyRules({});

  private constructor(place: EgressPlace) {
    this.#firewall = place.firewall;
    this.#place = place;
    this.#scope = egressScope(place);
    this.#opened = new OpenedAddresses(place.firewall.socket, this.#scope);
  }

  /**
   * Puts a policy on a bridge, or on addresses of one.
   *
   * @throws SpecError for a rule that cannot be read; UnavailableError without nft
   */
  static async apply(options: EgressPlace & { readonly policy: EgressOptions }): Promise<EgressPolicy> {
    const policy = new EgressPolicy(options);
    beginPolicy(policy.#firewall.socket, policy.#scope);
    await policy.#putInForce(options.policy);
    return policy;
  }

  /** Takes part in a policy that is in force, put there by whatever process; what is open stays open. */
  static attach(options: EgressPlace & { readonly policy: EgressOptions }): EgressPolicy {
    const policy = new EgressPolicy(options);
    policy.follow(options.policy);
    return policy;
  }

  get options(): EgressOptions {
    return this.#options;
  }

  /**
   * Replaces the rules in one transaction. Addresses the resolver opened under the old ones are closed, and connections
   * that the old rules let through and the new do not are cut: to addresses, and to all names when one was taken out.
   */
  async change(options: EgressOptions): Promise<void> {
    const before = this.#rules;
    await this.#putInForce(options);
    const after = this.#rules;
    const namesStay = after.knowsNamesOf(before);
    const { inside, exempt } = this.#scope;
    await cutConnections({
      netns: this.#firewall.netns,
      from: inside,
      refused: (connection) =>
        !isIn(connection.destination, exempt.subnets) &&
        !after.allowsConnection(connection) &&
        !(namesStay && !before.allowsConnection(connection)),
    });
  }

  /** Another process changed the policy in the kernel: names are answered by the new one from now on. */
  follow(options: EgressOptions): void {
    this.#rules = new PolicyRules(options);
    this.#options = options;
    this.#opened.forget();
  }

  /** May the resolver answer this name at all? */
  allowsName(name: string): boolean {
    return this.#rules.otherwise === 'allow' || this.#rules.forName(name).length > 0;
  }

  /**
   * Opens what a name resolved to. Addresses in closed subnets are left out: a name somebody else controls must not lead
   * to this network's insides (DNS rebinding). Where a rule lets some of them through, they may be answered, and are open as
   * that rule says, not as the name's does.
   *
   * @returns the addresses that may be answered
   */
  openResolved(name: string, addresses: readonly ResolvedAddress[]): string[] {
    const usable = addresses.filter(({ address }) => this.#rules.isReachable(address));
    if (this.#rules.otherwise !== 'allow')
      this.#openFor(
        name,
        usable.filter(({ address }) => !isIn(address, closedSubnets)),
      );
    return usable.map(({ address }) => address);
  }

  /** May the resolver answer the name of a container on the network? To a network's own policy that is not outside. */
  allowsNeighbour(name: string): boolean {
    return this.#place.sources === undefined || this.allowsName(name);
  }

  /** Opens a container on the network, whose address is private and known to be true. */
  openNeighbour(name: string, addresses: readonly ResolvedAddress[]): void {
    if (this.#place.sources !== undefined) this.#openFor(name, addresses);
  }

  /**
   * Refused connections, as they are refused. At most 1,000 a second are reported. Needs CAP_NET_ADMIN.
   */
  refused(options: RefusedOptions = {}): AsyncGenerator<RefusedConnection, void, undefined> {
    return refusedConnections({ netns: this.#firewall.netns, group: this.#place.logGroup, ...options });
  }

  /** Takes the policy off: everything may be connected to again. Idempotent. */
  async remove(): Promise<void> {
    this.#opened.forget();
    removePolicy(this.#firewall.socket, this.#scope);
  }

  async #putInForce(options: EgressOptions): Promise<void> {
    const before = this.#options;
    // First: a name that is resolved meanwhile must not be opened by the old rules in what the kernel has of the new.
    this.follow(options);
    const { bridge, logGroup } = this.#place;
    const script = policyScript({ scope: this.#scope, logPrefix: bridge, logGroup, rules: this.#rules });
    try {
      await applyRuleset(script, `set the egress policy of ${this.#scope.label}`, { netns: this.#firewall.netns });
    } catch (error) {
      this.follow(before);
      throw error;
    }
    this.#opened.forget();
  }

  #openFor(name: string, addresses: readonly ResolvedAddress[]): void {
    const rules = this.#rules.forName(name);
    for (const resolved of addresses) for (const rule of rules) this.#opened.open(resolved, rule);
  }
}
