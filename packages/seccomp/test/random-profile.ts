import type { ProfileArgument, ProfileRule, SeccompProfile } from '@ns/seccomp';
import fc from 'fast-check';

const NAMES = [
  'read',
  'write',
  'close',
  'ioctl',
  'socket',
  'shmat',
  'munmap',
  'clone',
  'dup3',
  'getpid',
  'openat2',
] as const;
const OPERATORS = ['NE', 'LT', 'LE', 'EQ', 'GE', 'GT', 'MASKED_EQ'] as const;
const U64 = (1n << 64n) - 1n;

/** Values close to each other and to the places where words end, so that conditions overlap and touch. */
export const arbitraryValue: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 0n, max: 6n }),
  fc.constantFrom(
    U64,
    U64 - 1n,
    1n << 63n,
    1n << 32n,
    (1n << 32n) - 1n,
    (1n << 32n) + 1n,
    0x7e020000n,
    0xffff0000n,
    (5n << 32n) | 3n,
    5n << 32n,
  ),
  fc.bigInt({ min: 0n, max: U64 }),
);

const argumentWith = (operators: readonly (typeof OPERATORS)[number][]) =>
  fc
    .record({ index: fc.nat(5), op: fc.constantFrom(...operators), value: arbitraryValue, valueTwo: arbitraryValue })
    .map(
      ({ index, op, value, valueTwo }): ProfileArgument => ({
        index,
        op: `SCMP_CMP_${op}`,
        value: String(value),
        valueTwo: String(valueTwo),
      }),
    );

const errno = (number: number) => ({ action: 'SCMP_ACT_ERRNO', errnoRet: number }) as const;

/** Rules of which every system call has those of one action only: their order then does not matter. */
export const arbitraryProfile: fc.Arbitrary<SeccompProfile> = profileWith(
  (name) => errno(10 + NAMES.indexOf(name)),
  OPERATORS,
);

/** Rules that contradict each other. */
export const contradictoryProfile: fc.Arbitrary<SeccompProfile> = profileWith(
  (_, random) => errno(10 + random),
  OPERATORS,
);

/** As {@link arbitraryProfile}, without comparisons for order. */
export const equalityProfile: fc.Arbitrary<SeccompProfile> = profileWith(
  (name) => errno(10 + NAMES.indexOf(name)),
  ['EQ', 'NE', 'MASKED_EQ'],
);

/** Rules that contradict each other by equality and masks. */
export const contradictoryMasks: fc.Arbitrary<SeccompProfile> = profileWith(
  (_, random) => errno(10 + random),
  ['EQ', 'MASKED_EQ'],
  { names: ['read', 'dup3'], fewest: 1, most: 1 },
);

function profileWith(
  action: (name: (typeof NAMES)[number], random: number) => Pick<ProfileRule, 'action' | 'errnoRet'>,
  operators: readonly (typeof OPERATORS)[number][],
  rules: { names: readonly (typeof NAMES)[number][]; fewest: number; most: number } = {
    names: NAMES,
    fewest: 0,
    most: 3,
  },
): fc.Arbitrary<SeccompProfile> {
  const rule = fc
    .record({
      name: fc.constantFrom(...rules.names),
      args: fc.array(argumentWith(operators), { minLength: rules.fewest, maxLength: rules.most }),
      random: fc.nat(3),
    })
    .map(({ name, args, random }): ProfileRule => ({ names: [name], args, ...action(name, random) }));
  return fc.record({
    defaultAction: fc.constantFrom(
      'SCMP_ACT_ALLOW',
      'SCMP_ACT_KILL_PROCESS',
      'SCMP_ACT_TRAP',
      'SCMP_ACT_ERRNO' as const,
    ),
    syscalls: fc.array(rule, { maxLength: 14 }),
  });
}

/** A call near what the rules are about. */
export const arbitraryCall = fc.record({
  syscall: fc.constantFrom(...NAMES, 'lseek', 'statx'),
  args: fc.array(arbitraryValue, { minLength: 6, maxLength: 6 }),
});
