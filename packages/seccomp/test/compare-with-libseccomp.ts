import { compile, type ProfileRule, type SeccompFilter, type SeccompProfile, simulate } from '@ns/seccomp';
import { architectures, type SeccompArch } from '../src/architectures.ts';
import { syscallTable } from '../src/syscall-table.ts';
import { type LibseccompResult, libseccompPrograms, ORACLE_KERNEL, ruleNames } from './libseccomp.ts';

const U64 = (1n << 64n) - 1n;

/** The machines libseccomp's program and ours are compared for, each with the ABIs of one filter. */
export const machines = [
  { arch: 'x86_64', goArch: 'amd64', abis: ['x86_64', 'x86', 'x32'] },
  { arch: 'x86', goArch: 'x86', abis: ['x86'] },
  { arch: 'aarch64', goArch: 'arm64', abis: ['aarch64', 'arm'] },
  { arch: 'arm', goArch: 'arm', abis: ['arm'] },
  { arch: 'riscv64', goArch: 'riscv64', abis: ['riscv64'] },
  { arch: 'ppc64le', goArch: 'ppc64le', abis: ['ppc64le'] },
  { arch: 'mipsel', goArch: 'mipsle', abis: ['mipsel'] },
  { arch: 's390x', goArch: 's390x', abis: ['s390x', 's390'] },
  { arch: 'mips64', goArch: 'mips64', abis: ['mips64', 'mips', 'mips64n32'] },
] as const satisfies readonly { arch: SeccompArch; goArch: string; abis: readonly SeccompArch[] }[];

export type Machine = (typeof machines)[number];

/** What the comparison of a whole profile came to. */
export interface Comparison {
  /** Every case in which the two programs differ. */
  readonly differences: readonly string[];
  /** Names the installed libseccomp is too old to know: they were left out on both sides. */
  readonly unknown: readonly string[];
  /** Calls that were compared. */
  readonly calls: number;
}

/** Compiles a profile here and with libseccomp, and lets both programs decide about every number and around every bound. */
export function compareWithLibseccomp(
  profile: SeccompProfile,
  machine: Machine,
  capabilities: readonly string[] = [],
): Comparison {
  const [result] = libseccompPrograms([profile], {
    architectures: machine.abis.map((abi) => abi.toUpperCase()),
    goArch: machine.goArch,
    capabilities,
  });
  const { program, unknown } = accepted(result!);
  const known = without(profile, unknown);
  const filter = compile(
    { ...known, archMap: null, architectures: machine.abis.map((abi) => `SCMP_ARCH_${abi.toUpperCase()}`) },
    { arch: machine.arch, capabilities, newerSyscalls: 'default-action', kernelVersion: ORACLE_KERNEL },
  );
  return { ...compareCalls(known, filter, program, machine.abis), unknown };
}

function accepted({ program, unknown, error }: LibseccompResult) {
  if (!program) throw new Error(error);
  return { program, unknown };
}

function compareCalls(
  profile: SeccompProfile,
  filter: SeccompFilter,
  theirs: Uint8Array,
  abis: readonly SeccompArch[],
): { differences: string[]; calls: number } {
  const differences: string[] = [];
  let calls = 0;
  for (const abi of abis) {
    const { names } = syscallTable(abi);
    const { audit, bigEndian } = architectures[abi];
    for (const { nr, args } of callsOf(profile, abi)) {
      calls++;
      const data = { nr, arch: audit, args };
      const ours = simulate(filter, data, { bigEndian }).value;
      const expected = simulate(theirs, data, { bigEndian }).value;
      // libseccomp leaves some verdicts in the byte order of the machine it runs on.
      if (ours === expected || (bigEndian && ours === swapBytes(expected))) continue;
      const call = `${abi} ${names.get(nr)} ${nr}(${args.join(', ')})`;
      differences.push(`${call}: ${ours.toString(16)}, libseccomp ${expected.toString(16)}`);
    }
  }
  return { differences, calls };
}

/** Numbers that an ABI may see: all it has, the holes between them, some above, and the extremes. */
function numbersOf(abi: SeccompArch): number[] {
  const { offset } = architectures[abi];
  const known = [...syscallTable(abi).names.keys()];
  const dense = Array.from({ length: 620 }, (_, index) => offset + index);
  return [
    ...new Set([
      ...dense,
      ...known,
      ...known.map((number) => number + 1),
      0x3fffffff,
      0x7fffffff,
      0x80000000,
      0xffffffff,
    ]),
  ];
}

/**
 * Calls that an ABI may see: every number without arguments; for rules with conditions all values around their bounds, one
 * argument varied while the others are what a rule asks for, or 0; every call of the multiplexers.
 */
function* callsOf(profile: SeccompProfile, abi: SeccompArch): Generator<{ nr: number; args: bigint[] }> {
  for (const nr of numbersOf(abi)) yield { nr, args: [] };
  const conditional = (profile.syscalls ?? []).filter(({ args }) => args && args.length > 0);
  for (const name of new Set(conditional.flatMap(ruleNames))) {
    const nr = syscallTable(abi).numbers.get(name);
    if (nr === undefined) continue;
    const rules = conditional.filter((rule) => ruleNames(rule).includes(name));
    // Where a rule asks for one argument, the others do not matter.
    for (const base of [[], ...rules.filter(({ args }) => args!.length > 1).map(wantedArguments)]) {
      for (const index of [0, 1, 2, 3, 4, 5]) {
        for (const value of interestingValues(rules, index)) {
          const args = Array.from({ length: 6 }, (_, position) => base[position] ?? 0n);
          args[index] = value;
          yield { nr, args };
        }
      }
    }
  }
  const { multiplexers } = architectures[abi];
  for (const nr of multiplexers ? [multiplexers.socketcall, multiplexers.ipc] : []) {
    for (let call = 0n; call < 26n; call++) yield { nr, args: [call] };
  }
}

/** Values around every bound that a profile's rules for a name have, with other upper halves. */
function interestingValues(rules: readonly ProfileRule[], index: number): bigint[] {
  const values = rules
    .flatMap(({ args }) => (args ?? []).filter((arg) => arg.index === index))
    .flatMap(({ value, valueTwo }) => [BigInt(value), BigInt(valueTwo ?? 0), BigInt(value) ^ BigInt(valueTwo ?? 0)]);
  const around = values.flatMap((value) => [value - 1n, value, value + 1n]).map((value) => value & U64);
  return [
    ...new Set([
      0n,
      1n,
      U64,
      ...around,
      ...around.map((value) => value | (1n << 32n)),
      ...around.map((value) => value ^ (1n << 63n)),
    ]),
  ];
}

/** Arguments for which the comparisons of a rule hold that ask for equality. */
function wantedArguments({ args }: ProfileRule): bigint[] {
  const wanted: bigint[] = [];
  for (const { index, op, value, valueTwo } of args ?? []) {
    wanted[index] = BigInt(op === 'SCMP_CMP_MASKED_EQ' ? (valueTwo ?? 0) : value);
  }
  return wanted;
}

function swapBytes(word: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(word);
  return bytes.readUInt32BE();
}

/** The profile without what the installed libseccomp is too old to know. */
function without(profile: SeccompProfile, unknown: readonly string[]): SeccompProfile {
  const gone = new Set(unknown);
  const rules = (profile.syscalls ?? []).map(({ name: _, ...rule }, index) => ({
    ...rule,
    names: ruleNames(profile.syscalls![index]!).filter((name) => !gone.has(name)),
  }));
  return { ...profile, syscalls: rules.filter(({ names }) => names.length > 0) };
}
