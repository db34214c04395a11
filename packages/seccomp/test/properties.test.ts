import { isDeepStrictEqual } from 'node:util';
import {
  compile,
  explain,
  type ProfileArgument,
  profiles,
  SECCOMP_RET,
  type SeccompProfile,
  simulate,
} from '@ns/seccomp';
import { needs } from '@ns/testing';
import fc from 'fast-check';
import { decisionOf } from '../src/actions.ts';
import { architectures, type SeccompArch } from '../src/architectures.ts';
import { toSeccompData } from '../src/filter.ts';
import { libseccompPrograms, noLibseccomp } from './libseccomp.ts';
import {
  arbitraryCall,
  arbitraryProfile,
  contradictoryMasks,
  contradictoryProfile,
  equalityProfile,
} from './random-profile.ts';

const compileOnly = { kernelVersion: '6.1', newerSyscalls: 'default-action' } as const;
const arches = ['x86_64', 'aarch64', 'arm', 's390x', 'riscv64'] as const satisfies readonly SeccompArch[];

/** The rules read as they are written, one after the other. */
function interpret(profile: SeccompProfile, call: { syscall: string; args: bigint[] }, bits: 32 | 64) {
  const own = profile.syscalls!.filter(({ names }) => names![0] === call.syscall);
  const rules = own.flatMap((rule) => {
    const args = rule.args ?? [];
    const repeated = new Set(args.map(({ index }) => index)).size < args.length;
    return repeated ? args.map((arg) => ({ ...rule, args: [arg] })) : [{ ...rule, args }];
  });
  const matching = rules.find(({ args }) => args.every((arg) => matches(arg, call.args[arg.index]!, bits)));
  return matching ?? { action: profile.defaultAction, errnoRet: 1 };
}

function matches({ op, value, valueTwo }: ProfileArgument, argument: bigint, bits: 32 | 64): boolean {
  const [seen, bound, second] = [argument, BigInt(value), BigInt(valueTwo ?? 0)].map((number) =>
    BigInt.asUintN(bits, number),
  ) as [bigint, bigint, bigint];
  const outcomes = {
    SCMP_CMP_NE: seen !== bound,
    SCMP_CMP_LT: seen < bound,
    SCMP_CMP_LE: seen <= bound,
    SCMP_CMP_EQ: seen === bound,
    SCMP_CMP_GE: seen >= bound,
    SCMP_CMP_GT: seen > bound,
    SCMP_CMP_MASKED_EQ: (seen & bound) === (second & bound),
  };
  return outcomes[op];
}

const RESULTS = {
  SCMP_ACT_ALLOW: () => SECCOMP_RET.ALLOW,
  SCMP_ACT_KILL_PROCESS: () => SECCOMP_RET.KILL_PROCESS,
  SCMP_ACT_TRAP: () => SECCOMP_RET.TRAP,
  SCMP_ACT_ERRNO: (errno: number) => SECCOMP_RET.ERRNO | errno,
};

test.each(arches)('a compiled filter decides as its rules read (%s)', (arch) => {
  fc.assert(
    fc.property(arbitraryProfile, fc.array(arbitraryCall, { minLength: 10, maxLength: 40 }), (profile, calls) => {
      const filter = compile(profile, { arch, ...compileOnly });
      for (const call of calls) {
        const { action, errnoRet } = interpret(profile, call, architectures[arch].bits);
        const expected = RESULTS[action as keyof typeof RESULTS](errnoRet!);
        expect(filter.evaluate(call)).toEqual(decisionOf(expected));
        expect(explain(profile, call, { arch, ...compileOnly }).decision).toEqual(decisionOf(expected));
      }
    }),
    { numRuns: 150 },
  );
});

test.each(arches)('explain agrees with the filter, contradictions and newer calls included (%s)', (arch) => {
  fc.assert(
    fc.property(contradictoryProfile, fc.array(arbitraryCall, { maxLength: 30 }), (profile, calls) => {
      const filter = compile(profile, { arch });
      for (const call of [...calls, { syscall: 0 }, { syscall: 500 }]) {
        expect(explain(profile, call, { arch }).decision).toEqual(filter.evaluate(call));
      }
    }),
    { numRuns: 100 },
  );
});

test('every program is one the kernel would take: it ends in a verdict whatever it is given', () => {
  const anyData = fc.record({
    nr: fc.oneof(fc.nat(600), fc.integer({ min: 0, max: 0xffffffff })),
    arch: fc.constantFrom(...Object.values(architectures).map(({ audit }) => audit)),
    args: fc.array(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { minLength: 6, maxLength: 6 }),
  });
  const filters = [profiles.default, profiles.strict].map((profile) => compile(profile, { arch: 'x86_64' }));
  fc.assert(
    fc.property(anyData, (data) => {
      for (const filter of filters) expect(simulate(filter, data).steps).toBeLessThan(40);
    }),
    { numRuns: 3000 },
  );
});

test('whatever is put in the place of any part of a profile is taken, or refused by the name of a field', () => {
  const whole = {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }],
    flags: ['SECCOMP_FILTER_FLAG_LOG'],
    syscalls: [
      {
        names: ['read', 'ioctl'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 5,
        args: [{ index: 1, value: '0xffffffffff', valueTwo: 3, op: 'SCMP_CMP_MASKED_EQ' }],
        includes: { caps: ['CAP_SYS_ADMIN'], arches: ['amd64'], minKernel: '4.8' },
        excludes: { caps: [], arches: ['arm'], minKernel: '9.0' },
      },
    ],
  };
  const places = pathsOf(whole);
  fc.assert(
    fc.property(
      fc.constantFrom(...places),
      fc.anything({ withBigInt: true, withNullPrototype: true }),
      (path, junk) => {
        const profile = structuredClone(whole);
        const last = path.at(-1)!;
        // biome-ignore lint/suspicious/noExplicitAny: any part of it
        path.slice(0, -1).reduce<any>((part, key) => part[key], profile)[last] = junk;
        try {
          compile(profile as unknown as SeccompProfile, { arch: 'x86_64', ...compileOnly });
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: expect.stringMatching(/^seccomp\b/) });
        }
      },
    ),
    { numRuns: 2000 },
  );
});

/** The way to every part of a value. */
function pathsOf(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, part]) => [[key], ...pathsOf(part).map((path) => [key, ...path])]);
}

const seed = 7;

describe('random profiles decide as libseccomp has them', () => {
  const oracle = needs(noLibseccomp);

  /** Cases in which the programs differ, on one ABI of a filter for x86_64 and x86. */
  const differences = (random: SeccompProfile[], arch: 'x86_64' | 'x86') => {
    const calls = fc.sample(arbitraryCall, { numRuns: 400, seed });
    const results = libseccompPrograms(random, { architectures: ['X86_64', 'X86'], goArch: 'amd64' });
    return results.flatMap(({ program }, position) => {
      // libseccomp refuses some contradictions.
      if (!program) return [];
      const profile = { ...random[position]!, architectures: ['SCMP_ARCH_X86'] };
      const filter = compile(profile, { arch: 'x86_64', ...compileOnly });
      return calls.flatMap((call) => {
        const data = toSeccompData({ ...call, arch }, 'x86_64');
        const [ours, theirs] = [simulate(filter, data), simulate(program, data)].map(({ value }) => decisionOf(value));
        const rules = profile.syscalls!.filter(({ names }) => names![0] === call.syscall);
        return isDeepStrictEqual(ours, theirs) ? [] : [{ call, ours, theirs, rules }];
      });
    });
  };

  oracle('with 32-bit arguments', () => {
    expect(differences(fc.sample(arbitraryProfile, { numRuns: 160, seed }), 'x86')).toEqual([]);
  });

  // libseccomp 2.5 loses rules when one 64-bit argument is compared for order more than once: of "<= 1 or < 2^60" it
  // refuses 0xffff0000. Equality has no such trouble.
  oracle('with 64-bit arguments', () => {
    expect(differences(fc.sample(equalityProfile, { numRuns: 120, seed }), 'x86_64')).toEqual([]);
  });

  for (const arch of ['x86', 'x86_64'] as const) {
    oracle(`contradictions of equality and masks included (${arch})`, () => {
      expect(differences(fc.sample(contradictoryMasks, { numRuns: 200, seed }), arch)).toEqual([]);
    });
  }
});
