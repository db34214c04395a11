import { nearest, SpecError } from '@ns/libc';
import type { tables } from './generated/syscall-tables.ts';

const EM = {
  386: 3,
  MIPS: 8,
  PARISC: 15,
  PPC: 20,
  PPC64: 21,
  S390: 22,
  ARM: 40,
  SH: 42,
  X86_64: 62,
  AARCH64: 183,
  RISCV: 243,
  LOONGARCH: 258,
  M68K: 4,
};
const BITS64 = 0x80000000;
const LITTLE = 0x40000000;
const N32 = 0x20000000;

/** Bit 30 of a system call number made through the x32 ABI. */
export const X32_SYSCALL_BIT = 0x40000000;

/** What a filter has to know of a system call ABI. */
export interface Architecture {
  /** `AUDIT_ARCH_*` of `<linux/audit.h>`: what the kernel puts into `seccomp_data.arch`. */
  readonly audit: number;
  /** Which table holds its numbers. */
  readonly table: keyof typeof tables;
  /** Added to the table's numbers: the ABI's base. */
  readonly offset: number;
  /** Width of an argument as profiles compare it; on 32 bits the upper half of a value is cut off, as libseccomp does. */
  readonly bits: 32 | 64;
  readonly bigEndian: boolean;
  /** Number of `socketcall(2)` and `ipc(2)` where those multiplex the socket and System V calls. */
  readonly multiplexers?: { readonly socketcall: number; readonly ipc: number };
  /** The names Docker's `includes.arches` uses (Go's GOARCH), and Node's `process.arch`. */
  readonly aliases: readonly string[];
}

type Row = readonly [
  audit: number,
  table: keyof typeof tables,
  offset: number,
  bits: 32 | 64,
  aliases: string,
  multiplexed?: 'multiplexed',
];

// audit is EM_* | 64-bit | little-endian. Values are never negative: >>> 0.
const rows = {
  x86_64: [EM.X86_64 | BITS64 | LITTLE, 'x86_64', 0, 64, 'amd64 x64'],
  x86: [EM[386] | LITTLE, 'x86', 0, 32, '386 ia32', 'multiplexed'],
  x32: [EM.X86_64 | BITS64 | LITTLE, 'x32', X32_SYSCALL_BIT, 32, 'amd64p32'],
  aarch64: [EM.AARCH64 | BITS64 | LITTLE, 'aarch64', 0, 64, 'arm64'],
  arm: [EM.ARM | LITTLE, 'arm', 0, 32, ''],
  riscv64: [EM.RISCV | BITS64 | LITTLE, 'riscv64', 0, 64, ''],
  loongarch64: [EM.LOONGARCH | BITS64 | LITTLE, 'loongarch64', 0, 64, 'loong64'],
  ppc64le: [EM.PPC64 | BITS64 | LITTLE, 'ppc64', 0, 64, '', 'multiplexed'],
  ppc64: [EM.PPC64 | BITS64, 'ppc64', 0, 64, '', 'multiplexed'],
  ppc: [EM.PPC, 'ppc', 0, 32, '', 'multiplexed'],
  s390x: [EM.S390 | BITS64, 's390x', 0, 64, '', 'multiplexed'],
  s390: [EM.S390, 's390', 0, 32, '', 'multiplexed'],
  mips: [EM.MIPS, 'mips', 4000, 32, '', 'multiplexed'],
  mipsel: [EM.MIPS | LITTLE, 'mips', 4000, 32, 'mipsle', 'multiplexed'],
  mips64: [EM.MIPS | BITS64, 'mips64', 5000, 64, ''],
  mipsel64: [EM.MIPS | BITS64 | LITTLE, 'mips64', 5000, 64, 'mips64le'],
  mips64n32: [EM.MIPS | BITS64 | N32, 'mips64n32', 6000, 32, 'mips64p32'],
  mipsel64n32: [EM.MIPS | BITS64 | LITTLE | N32, 'mips64n32', 6000, 32, 'mips64p32le'],
  parisc: [EM.PARISC, 'parisc', 0, 32, ''],
  parisc64: [EM.PARISC | BITS64, 'parisc64', 0, 64, ''],
  m68k: [EM.M68K, 'm68k', 0, 32, '', 'multiplexed'],
  sh: [EM.SH | LITTLE, 'sh', 0, 32, '', 'multiplexed'],
  sheb: [EM.SH, 'sh', 0, 32, '', 'multiplexed'],
} as const satisfies Record<string, Row>;

/** An ABI by libseccomp's name in lower case: `SCMP_ARCH_X86_64` is `x86_64`. */
export type SeccompArch = keyof typeof rows;

/** Every ABI a filter can be made for. */
export const architectures: Readonly<Record<SeccompArch, Architecture>> = Object.fromEntries(
  Object.entries<Row>(rows).map(([name, row]) => [name, describe(row)]),
) as Record<SeccompArch, Architecture>;

function describe([audit, table, offset, bits, aliases, multiplexers]: Row): Architecture {
  return {
    audit: audit >>> 0,
    table,
    offset,
    bits,
    bigEndian: (audit & LITTLE) === 0,
    // The same numbers on every ABI that has them.
    ...(multiplexers ? { multiplexers: { socketcall: 102 + offset, ipc: 117 + offset } } : {}),
    aliases: aliases.split(' ').filter(Boolean),
  };
}

const byAlias = new Map(
  Object.entries(architectures).flatMap(([name, { aliases }]) =>
    [name, ...aliases].map((alias) => [alias, name as SeccompArch]),
  ),
);

/**
 * The ABI a name means: ours, Node's, Go's, or libseccomp's `SCMP_ARCH_*`.
 *
 * @throws SpecError for a name that is none of them
 */
export function parseArch(name: unknown, field: string): SeccompArch {
  const text = typeof name === 'string' ? name : '';
  const arch = byAlias.get(text.startsWith('SCMP_ARCH_') ? text.slice('SCMP_ARCH_'.length).toLowerCase() : text);
  if (arch) return arch;
  const near = nearest(text.replace('SCMP_ARCH_', ''), [...byAlias.keys()]);
  const expected = `an architecture (${Object.keys(rows).join(', ')}, or SCMP_ARCH_...)`;
  throw new SpecError(field, expected, name, near && `Did you mean ${near}?`);
}

/** The ABI of a call as the kernel shows it. x86_64 and x32 are one architecture there, told apart by bit 30 of the number. */
export function abiOf(audit: number, nr: number): SeccompArch | undefined {
  // -1 is a call a tracer has struck out, not one of x32.
  if (audit === architectures.x32.audit) return nr >= X32_SYSCALL_BIT && nr !== 0xffffffff ? 'x32' : 'x86_64';
  return (Object.keys(rows) as SeccompArch[]).find((name) => architectures[name].audit === audit);
}
