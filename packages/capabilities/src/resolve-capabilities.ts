import { onlyKnownKeys, SpecError } from '@ns/libc';
import { CapabilitySet, checkCapabilitySet } from './capability-set.ts';
import { dockerDefault } from './docker-default.ts';
import { type Capability, capabilityName } from './names.ts';
import { getProcessCapabilities } from './process-capabilities.ts';

/** Changes to the default set, as Docker's `--cap-add` and `--cap-drop`. `ALL` is every capability. */
export interface CapabilityChanges {
  /** Besides the default ones. Default: none. */
  readonly add?: readonly Capability[];
  /** Of the default ones. Default: none. */
  readonly drop?: readonly Capability[];
}

/** What a container shall have: changes to the default, or exactly these (`ALL` included). */
export type CapabilitySpec = CapabilityChanges | readonly Capability[];

/** A capability that was asked for and cannot be granted. */
export interface CapabilityWarning {
  /** Its name, the number for one without. */
  readonly capability: string;
  /** A sentence. */
  readonly message: string;
}

/** What {@link resolveCapabilities} decided. */
export interface ResolvedCapabilities {
  /** For bounding, permitted and effective; inheritable and ambient stay empty (CVE-2022-24769). */
  readonly set: CapabilitySet;
  /** One for each capability that was asked for and that this host cannot grant. */
  readonly warnings: readonly CapabilityWarning[];
}

/**
 * The capabilities a specification comes to, by Docker's rules:
 *
 * - nothing: {@link dockerDefault};
 * - `add: ['ALL']`: everything but what `drop` names;
 * - `drop: ['ALL']`: nothing but what `add` names;
 * - otherwise the default without `drop` and with `add`: a capability named in both is there;
 * - an array: exactly those.
 *
 * @param spec - what was asked for
 * @param bounding - what the host can grant. Default: the calling thread's bounding set
 * @param field - what to call the specification in an error
 * @throws SpecError for an unknown capability, with the nearest name
 *
 * @example
 * ```ts
 * const { set, warnings } = resolveCapabilities({ drop: ['ALL'], add: ['NET_BIND_SERVICE'] });
 * ```
 */
export function resolveCapabilities(
  spec: CapabilitySpec = {},
  bounding: CapabilitySet = getProcessCapabilities('self').bounding,
  field = 'capabilities',
): ResolvedCapabilities {
  checkCapabilitySet(bounding, 'bounding');
  const wanted = isList(spec) ? namedIn(spec, field).set : changed(spec, field);
  const warnings = wanted.difference(bounding).numbers().map(missing);
  return { set: wanted.intersection(bounding), warnings };
}

function changed(spec: CapabilityChanges, field: string): CapabilitySet {
  onlyKnownKeys(spec, ['add', 'drop'], field);
  const add = namedIn(spec.add ?? [], `${field}.add`);
  const drop = namedIn(spec.drop ?? [], `${field}.drop`);
  // The order is Docker's: ALL in add is looked at first, and next to it ALL in drop means nothing.
  if (add.all) return add.set.difference(drop.named);
  if (drop.all) return add.set;
  return dockerDefault.difference(drop.named).union(add.named);
}

interface NamedCapabilities {
  /** `ALL` was among them. */
  readonly all: boolean;
  /** Those mentioned by name. */
  readonly named: CapabilitySet;
  /** What they come to. */
  readonly set: CapabilitySet;
}

function namedIn(list: readonly Capability[], field: string): NamedCapabilities {
  if (!Array.isArray(list)) throw new SpecError(field, 'an array of capability names', list);
  const isAll = (capability: Capability) => typeof capability === 'string' && /^all$/i.test(capability);
  const all = list.some(isAll);
  const named = CapabilitySet.from(
    list.filter((capability) => !isAll(capability)),
    field,
  );
  return { all, named, set: all ? CapabilitySet.all().union(named) : named };
}

// Array.isArray does not narrow readonly arrays.
function isList(spec: CapabilitySpec): spec is readonly Capability[] {
  return Array.isArray(spec);
}

function missing(number: number): CapabilityWarning {
  const capability = capabilityName(number);
  return { capability, message: `${capability} cannot be granted: it is not in the bounding set of this process` };
}
