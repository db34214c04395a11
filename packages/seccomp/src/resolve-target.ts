import { release } from 'node:os';
import { SpecError } from '@ns/libc';
import { parseArch } from './architectures.ts';
import type { CompileOptions } from './compile.ts';
import { parseKernelVersion, type Target } from './select-rules.ts';

/** Checks that there are options, and of the kinds that are not looked at elsewhere. */
export function checkOptions(options: CompileOptions): void {
  if (typeof options !== 'object' || options === null) throw new SpecError('options', 'an object', options);
  const { newerSyscalls } = options;
  if (newerSyscalls !== undefined && newerSyscalls !== 'enosys' && newerSyscalls !== 'default-action')
    throw new SpecError('newerSyscalls', "'enosys' or 'default-action'", newerSyscalls);
}

/** Checks whom a profile is compiled for. */
export function resolveTarget({ arch, capabilities, kernelVersion }: CompileOptions): Target {
  return {
    arch: parseArch(arch ?? process.arch, 'arch'),
    capabilities: capabilitySet(capabilities ?? []),
    kernelVersion: parseKernelVersion(kernelVersion ?? release(), 'kernelVersion'),
  };
}

function capabilitySet(capabilities: Iterable<string>): Set<string> {
  // The letters of a text could be iterated over.
  if (typeof capabilities !== 'object' || !(Symbol.iterator in capabilities))
    throw new SpecError('capabilities', 'a list of names such as CAP_CHOWN', capabilities);
  const set = new Set<string>();
  for (const name of capabilities) {
    // Numbers stand for capabilities newer than the names.
    if (typeof name !== 'string' || !/^(CAP_[A-Z0-9_]+|\d+)$/.test(name))
      throw new SpecError('capabilities', 'names such as CAP_CHOWN', name);
    set.add(name);
  }
  return set;
}
