import { arm64, x64 } from './generated/syscall-numbers.ts';

/** A system call's name, as the kernel's tables spell it. */
export type SyscallName = keyof typeof x64 | keyof typeof arm64;

const tables: Partial<Record<string, Partial<Record<SyscallName, number>>>> = { x64, arm64 };

/** The machine architectures this library starts processes on, by Node's `process.arch`. */
export type Arch = 'x64' | 'arm64';

/**
 * System call numbers of an architecture.
 *
 * @throws Error when the architecture has no table
 */
export function syscallNumbers(arch: string = process.arch): Readonly<Record<SyscallName, number>> {
  const table = tables[arch];
  if (!table) throw new Error(`@ns/libc has no system call table for ${arch}: x64 and arm64 are supported`);
  return table as Record<SyscallName, number>;
}

/** System call numbers of this machine. */
export const SYS: Readonly<Record<SyscallName, number>> = syscallNumbers();

const namesOf = new Map<string, Map<number, string>>();

/** The name of a system call number, `syscall_<nr>` when the table does not know it. */
export function syscallName(nr: number, arch: string = process.arch): string {
  let names = namesOf.get(arch);
  if (!names) {
    names = new Map(Object.entries(syscallNumbers(arch)).map(([name, number]) => [number, name]));
    namesOf.set(arch, names);
  }
  return names.get(nr) ?? `syscall_${nr}`;
}
