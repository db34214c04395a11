import { addressNumber, contains, type Subnet } from '../ipam/subnet.ts';
import {
  closedSubnets,
  type EgressOptions,
  matchesName,
  type NameRule,
  parseEgressRule,
  type SubnetRule,
} from './egress-rule.ts';

/** The rules of a policy, read. */
export class PolicyRules {
  readonly otherwise: 'deny' | 'allow';
  readonly subnets: readonly SubnetRule[];
  readonly names: readonly NameRule[];

  /** @throws SpecError for a rule that cannot be read */
  constructor({ default: otherwise = 'deny', allow = [] }: EgressOptions) {
    const rules = allow.map((text, index) => parseEgressRule(text, `egress.allow[${index}]`));
    this.otherwise = otherwise;
    this.subnets = rules.filter((rule) => rule.kind === 'subnet');
    this.names = rules.filter((rule) => rule.kind === 'name');
  }

  /** Those that speak of a name. */
  forName(name: string): NameRule[] {
    return this.names.filter((rule) => matchesName(rule, name));
  }

  /** Is an address one a name may lead to? */
  isReachable(address: string): boolean {
    return (
      !isIn(address, closedSubnets) ||
      isIn(
        address,
        this.#subnetsOf(() => true),
      )
    );
  }

  /** Do rules for addresses let a connection through? What names have opened is not among them. */
  allowsConnection({ destination, protocol, port }: Destination): boolean {
    const fits = (rule: SubnetRule): boolean =>
      (rule.port === undefined || (rule.port === port && protocol !== undefined)) &&
      (rule.protocol === undefined || rule.protocol === protocol);
    if (isIn(destination, this.#subnetsOf(fits))) return true;
    return this.otherwise === 'allow' && !isIn(destination, closedSubnets);
  }

  /** Does it know every name that another one knows, as far as that one does? */
  knowsNamesOf({ names }: PolicyRules): boolean {
    const known = new Set(this.names.map((rule) => JSON.stringify(rule)));
    return this.otherwise === 'allow' || names.every((rule) => known.has(JSON.stringify(rule)));
  }

  #subnetsOf(fits: (rule: SubnetRule) => boolean): Subnet[] {
    return this.subnets.filter(fits).map(({ subnet }) => subnet);
  }
}

/** @throws SpecError for a rule that cannot be read */
export function checkEgress(options: EgressOptions): void {
  new PolicyRules(options);
}

/** Where a connection goes. */
export interface Destination {
  readonly destination: string;
  /** Undefined for one without ports. */
  readonly protocol: 'tcp' | 'udp' | undefined;
  readonly port: number | undefined;
}

/** Is an address in one of these? */
export function isIn(address: string, subnets: readonly Subnet[]): boolean {
  const family = address.includes(':') ? 'inet6' : 'inet';
  const number = addressNumber(address);
  return subnets.some((subnet) => subnet.family === family && contains(subnet, number));
}
