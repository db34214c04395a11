import { compile, type ProfileRule, profiles, type SeccompFilter, type SeccompProfile, simulate } from '@ns/seccomp';
import { needs } from '@ns/testing';
import { architectures, type SeccompArch } from '../src/architectures.ts';
import { syscallTable } from '../src/syscall-table.ts';
import { libseccompPrograms, noLibseccomp } from './libseccomp.ts';

const oracle = needs(noLibseccomp);
const U64 = (1n << 64n) - 1n;

const machines = [
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

/**
 * Calls that an ABI may see: every number without arguments; for rules with conditions all values around their bounds, one
 * argument varied while the others are what a rule asks for, or 0; every call of the multiplexers.
 */
function* callsOf(profile: SeccompProfile, abi: SeccompArch): Generator<{ nr: number; args: bigint[] }> {
  for (const nr of numbersOf(abi)) yield { nr, args: [] };
  const conditional = (profile.syscalls ?? []).filter(({ args }) => args && args.length > 0);
  for (const name of new Set(conditional.flatMap(({ names }) => names ?? []))) {
    const nr = syscallTable(abi).numbers.get(name);
    if (nr === undefined) continue;
    const rules = conditional.filter(({ names }) => names!.includes(name));
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

/** Arguments for which the comparisons of a rule hold that ask for equality. */
function wantedArguments({ args }: ProfileRule): bigint[] {
  const wanted: bigint[] = [];
  for (const { index, op, value, valueTwo } of args ?? []) {
    wanted[index] = BigInt(op === 'SCMP_CMP_MASKED_EQ' ? (valueTwo ?? 0) : value);
  }
  return wanted;
}

/** Every case in which the two programs differ. */
function differences(
  profile: SeccompProfile,
  filter: SeccompFilter,
  theirs: Uint8Array,
  abis: readonly SeccompArch[],
): string[] {
  const found: string[] = [];
  for (const abi of abis) {
    const { names } = syscallTable(abi);
    for (const { nr, args } of callsOf(profile, abi)) {
      const name = `${abi} ${names.get(nr)}`;
      const data = { nr, arch: architectures[abi].audit, args };
      const { bigEndian } = architectures[abi];
      const ours = simulate(filter, data, { bigEndian }).value;
      const expected = simulate(theirs, data, { bigEndian }).value;
      // libseccomp leaves some verdicts in the byte order of the machine it runs on.
      if (bigEndian && ours === swapBytes(expected)) continue;
      if (ours !== expected)
        found.push(`${name} ${nr}(${args.join(', ')}): ${ours.toString(16)}, libseccomp ${expected.toString(16)}`);
    }
  }
  return found;
}

function swapBytes(word: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(word);
  return bytes.readUInt32BE();
}

/** The profile without what the installed libseccomp is too old to know. */
function without(profile: SeccompProfile, unknown: readonly string[]): SeccompProfile {
  const gone = new Set(unknown);
  const rules = (profile.syscalls ?? []).map((rule) => ({
    ...rule,
    names: (rule.names ?? []).filter((name) => !gone.has(name)),
  }));
  return { ...profile, syscalls: rules.filter(({ names }) => names.length > 0) };
}

function check(profile: SeccompProfile, machine: (typeof machines)[number], capabilities: string[] = []): string[] {
  const [result] = libseccompPrograms([profile], {
    architectures: machine.abis.map((abi) => abi.toUpperCase()),
    goArch: machine.goArch,
    capabilities,
  });
  const { program, unknown, error } = result!;
  if (!program) throw new Error(error);
  const known = without(profile, unknown);
  const filter = compile(
    { ...known, archMap: null, architectures: machine.abis.map((abi) => `SCMP_ARCH_${abi.toUpperCase()}`) },
    { arch: machine.arch, capabilities, newerSyscalls: 'default-action', kernelVersion: '6.1' },
  );
  return differences(known, filter, program, machine.abis);
}

describe.each(machines)('the same as libseccomp on $arch', (machine) => {
  oracle("Docker's profile", () => {
    expect(check(profiles.docker, machine)).toEqual([]);
  });

  oracle("Docker's profile with capabilities", () => {
    expect(check(profiles.docker, machine, ['CAP_SYS_ADMIN', 'CAP_SYS_PTRACE', 'CAP_BPF', 'CAP_SYS_TIME'])).toEqual([]);
  });

  oracle('the default and the strict profile', () => {
    expect(check(profiles.default, machine)).toEqual([]);
    expect(check(profiles.strict, machine)).toEqual([]);
  });

  oracle('a list of refusals with every comparison', () => {
    expect(check(everyComparison, machine)).toEqual([]);
  });

  oracle('every action', () => {
    expect(check(everyAction, machine)).toEqual([]);
  });
});

const everyComparison: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: (['EQ', 'NE', 'LT', 'LE', 'GT', 'GE', 'MASKED_EQ'] as const).flatMap((op, position): ProfileRule[] => {
    const name = ['read', 'write', 'close', 'fcntl', 'ioctl', 'lseek', 'dup'][position]!;
    const arg = (index: number, value: bigint) => ({
      index,
      op: `SCMP_CMP_${op}` as const,
      value: String(value),
      valueTwo: String(value & 0xff0f0000000fn),
    });
    return [
      { names: [name], action: 'SCMP_ACT_ERRNO', errnoRet: 5, args: [arg(0, 7n), arg(2, 0x1_0000_0000n)] },
      { names: [name], action: 'SCMP_ACT_ERRNO', errnoRet: 5, args: [arg(1, 0xffff_ffff_ffff_fff0n)] },
      {
        names: [name],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 5,
        args: [arg(3, 0x1234_5678_9abc_def0n), arg(4, 0xffff_ffffn), arg(5, 1n)],
      },
    ];
  }),
};

const everyAction: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: 38,
  syscalls: [
    { names: ['read'], action: 'SCMP_ACT_ALLOW' },
    { names: ['write'], action: 'SCMP_ACT_LOG' },
    { names: ['openat'], action: 'SCMP_ACT_NOTIFY' },
    { names: ['close'], action: 'SCMP_ACT_TRAP' },
    { names: ['dup'], action: 'SCMP_ACT_TRACE', errnoRet: 513 },
    { names: ['ptrace'], action: 'SCMP_ACT_KILL' },
    { names: ['mount'], action: 'SCMP_ACT_KILL_PROCESS' },
    { names: ['umount2'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 },
    { names: ['bind', 'semget'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 },
  ],
};
