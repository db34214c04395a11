import type { CompileOptions } from './compile.ts';
import { attachFilterMethods, type SeccompFilter } from './filter.ts';
import { defaultFilters } from './generated/default-filters.ts';
import type { SeccompProfile } from './profile.ts';
import { profiles } from './profiles.ts';
import { resolveTarget } from './resolve-target.ts';

/**
 * The filter that almost every first container of a program asks for: the default profile for a process with Docker's
 * default capabilities. It comes compiled, which saves reading 450 names at a program's first start.
 *
 * @returns undefined for any other profile or target
 * @throws SpecError as compiling would, for options
 */
export function compiledBefore(profile: SeccompProfile, options: CompileOptions): SeccompFilter | undefined {
  if (profile !== profiles.default || options.newerSyscalls === 'default-action') return undefined;
  // An iterable can be read once, and is read again when the profile is compiled.
  if (options.capabilities !== undefined && !Array.isArray(options.capabilities)) return undefined;
  const { arch, capabilities, kernelVersion } = resolveTarget(options);
  const ready = defaultFilters.byArch[arch as keyof typeof defaultFilters.byArch];
  if (!ready || kernelVersion[0] < defaultFilters.sinceMajor) return undefined;
  // Only capabilities that the profile asks for make a difference.
  const named = defaultFilters.conditions.filter((name) => capabilities.has(name));
  if (named.join() !== defaultFilters.held.join()) return undefined;
  const { base64, architectures, warnings } = ready;
  return attachFilterMethods(Buffer.from(base64, 'base64'), {
    arch,
    architectures,
    flags: 0,
    notifies: false,
    warnings,
  });
}
