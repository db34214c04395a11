import { SpecError } from '@ns/libc';
import { architectures, type SeccompArch } from './architectures.ts';
import type { ProfileCondition } from './profile.ts';
import type { ValidProfile, ValidRule } from './validate-profile.ts';

/** The machine and process a profile is compiled for. */
export interface Target {
  readonly arch: SeccompArch;
  /** Capabilities in the process's bounding set. */
  readonly capabilities: ReadonlySet<string>;
  /** `[major, minor, patch]`. */
  readonly kernelVersion: readonly [number, number, number];
}

/** The rules whose `includes` and `excludes` let them count for a target, by Docker's rules. */
export function selectRules(rules: readonly ValidRule[], target: Target): ValidRule[] {
  return rules.filter(({ includes, excludes }) => {
    const { caps = [], arches = [], minKernel } = includes;
    return (
      caps!.every((cap) => target.capabilities.has(cap)) &&
      (arches!.length === 0 || namesArch(arches!, target.arch)) &&
      (minKernel === undefined || atLeast(target.kernelVersion, minKernel)) &&
      !excluded(excludes, target)
    );
  });
}

// One match excludes, while includes must match in full.
function excluded({ caps = [], arches = [], minKernel }: ProfileCondition, target: Target): boolean {
  return (
    caps!.some((cap) => target.capabilities.has(cap)) ||
    namesArch(arches!, target.arch) ||
    (minKernel !== undefined && atLeast(target.kernelVersion, minKernel))
  );
}

function namesArch(names: readonly string[], arch: SeccompArch): boolean {
  return names.includes(arch) || architectures[arch].aliases.some((alias) => names.includes(alias));
}

function atLeast(version: readonly number[], minimum: string): boolean {
  const wanted = minimum.split('.').map(Number);
  const differing = version.findIndex((number, index) => number !== (wanted[index] ?? 0));
  return differing < 0 || version[differing]! > (wanted[differing] ?? 0);
}

/** The ABIs a filter has to know: the machine's own, and those the profile adds. */
export function selectArchitectures(profile: ValidProfile, native: SeccompArch): SeccompArch[] {
  const added = profile.archMap ? (profile.archMap.get(native) ?? []) : profile.architectures;
  const selected = [...new Set([native, ...added])];
  const foreign = selected.find((arch) => architectures[arch].bigEndian !== architectures[native].bigEndian);
  if (foreign) {
    throw new SpecError(
      'seccomp.architectures',
      `architectures of the byte order of ${native}`,
      foreign,
      'One filter holds one byte order; use archMap to name sets by machine',
    );
  }
  return selected;
}

/** The numbers of a kernel release such as `6.18.44-fc`. */
export function parseKernelVersion(release: string, field: string): [number, number, number] {
  const match = typeof release === 'string' ? /^(\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?/.exec(release) : null;
  if (!match) throw new SpecError(field, 'a kernel release such as "6.1"', release);
  return [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
}
