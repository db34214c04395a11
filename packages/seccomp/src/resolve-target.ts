import { release } from 'node:os';
import { SpecError } from '@ns/libc';
import { parseArch } from './architectures.ts';
import type { CompileOptions } from './compile.ts';
import { parseKernelVersion, type Target } from './select-rules.ts';

/** Checks whom a profile is compiled for. */
export function resolveTarget({ arch, capabilities, kernelVersion }: CompileOptions): Target {
  return {
    arch: parseArch(arch ?? process.arch, 'arch'),
    capabilities: capabilitySet(capabilities ?? []),
    kernelVersion: parseKernelVersion(kernelVersion ?? release(), 'kernelVersion'),
  };
}

function capabilitySet(capabilities: Iterable<string>): Set<string> {
  const set = new Set<string>();
  for (const name of capabilities) {
    // Numbers stand for capabilities newer than the names.
    if (!/^(CAP_[A-Z0-9_]+|\d+)$/.test(name)) throw new SpecError('capabilities', 'names such as CAP_CHOWN', name);
    set.add(name);
  }
  return set;
}
