import { SpecError } from '@ns/libc';
import type { Firewall } from '../firewall/firewall.ts';
import { discoveryTypes } from '../firewall/port-ruleset.ts';
import type { VerdictMapName } from '../firewall/ruleset.ts';
import { addressField, linkField } from '../firewall/set-elements.ts';
import { parseSubnet, type Subnet } from '../ipam/subnet.ts';
import { checkLinkName } from '../link/link.ts';

/** Where a policy holds. */
export interface EgressPlace {
  readonly firewall: Firewall;
  readonly bridge: string;
  /**
   * Addresses on that bridge, of a container with a policy of its own. Its port must be pinned to them. Without, the
   * policy holds for whatever comes from the bridge and leaves it.
   */
  readonly sources?: readonly string[];
  /** Subnets on that bridge, of a policy without `sources`: their connections are cut when rules are taken out. */
  readonly subnets?: readonly string[];
  /** Group of the kernel's packet log for refused connections; one program at a time can listen to it. */
  readonly logGroup: number;
}

/** Who a policy is for, as the rules say it. */
export interface EgressScope {
  /** How errors call it. */
  readonly label: string;
  /** Part of the names of its chains and sets. */
  readonly id: string;
  /** Where its connections begin. */
  readonly inside: readonly Subnet[];
  /** First rule of the way out: what the policy does not speak of. And where that goes. */
  readonly exempt: { readonly rule: string; readonly subnets: readonly Subnet[] };
  /** Keys of the maps that lead to the chains of forwarded packets and of those for the host. */
  readonly keys: readonly ScopeKey[];
}

/** Of two maps. */
interface ScopeKey {
  readonly forward: VerdictMapName;
  readonly input: VerdictMapName;
  readonly key: Buffer;
  /** The same as nft reads it. */
  readonly text: string;
}

/** @throws SpecError what cannot be part of an nft script */
export function egressScope({ bridge, sources, subnets = [], logGroup }: Omit<EgressPlace, 'firewall'>): EgressScope {
  checkLinkName(bridge, 'bridge');
  if (!/^[\w.-]+$/.test(bridge)) throw new SpecError('bridge', 'letters, digits, dots, dashes and underscores', bridge);
  if (!Number.isInteger(logGroup) || logGroup < 1 || logGroup > 65535)
    throw new SpecError('logGroup', 'a number from 1 to 65535', logGroup);
  if (sources === undefined) {
    const inside = subnets.map((subnet) => parseSubnet(subnet, 'subnets'));
    return {
      label: bridge,
      id: hex(bridge),
      inside,
      // Neighbours are not outside.
      exempt: { rule: `oifname "${bridge}" return`, subnets: inside },
      keys: [{ forward: 'egress', input: 'guarded', key: linkField(bridge), text: `"${bridge}"` }],
    };
  }
  const [first] = sources;
  if (first === undefined || !sources.every((source) => /^[\da-f.:]+$/i.test(source)))
    throw new SpecError('sources', 'addresses', sources);
  return {
    label: `${first} on ${bridge}`,
    id: hex(`${bridge} ${first}`),
    inside: sources.map((source) => parseSubnet(`${source}/${source.includes(':') ? 128 : 32}`, 'sources')),
    // With br_netfilter bridged packets come by here too. Their sources are pinned, and so is what they advertise.
    exempt: { rule: `oifname "${bridge}" icmpv6 type { ${discoveryTypes} } return`, subnets: [] },
    keys: sources.map((source) => {
      const version = source.includes(':') ? 6 : 4;
      const key = Buffer.concat([linkField(bridge), addressField(source)]);
      return { forward: `egress${version}`, input: `guarded${version}`, key, text: `"${bridge}" . ${source}` };
    }),
  };
}

// Link names may have characters that nft does not take in the name of a chain.
function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}
