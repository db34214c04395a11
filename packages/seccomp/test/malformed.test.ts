import {
  compile,
  explain,
  installFilter,
  lowWordEquals,
  lowWordExcept,
  parseProfile,
  profiles,
  type SeccompProfile,
  simulate,
  withNotify,
} from '@ns/seccomp';
import { takenOrRefused } from '@ns/testing';
import fc from 'fast-check';

/* Whatever is handed over as a profile is taken, or refused by name. */

const options = { arch: 'x86_64', kernelVersion: '6.1' } as const;
const json = fc.jsonValue({ maxDepth: 3 });
const keys = ['defaultAction', 'defaultErrnoRet', 'architectures', 'archMap', 'flags', 'syscalls', 'listenerPath'];
const ruleKeys = ['names', 'name', 'action', 'errnoRet', 'args', 'includes', 'excludes', 'comment'];
const record = (names: readonly string[], values: fc.Arbitrary<unknown>) =>
  fc.record(Object.fromEntries(names.map((name) => [name, values])), { requiredKeys: [] });
/** Profiles in which something is right. */
const nearly = fc.tuple(record(keys, json), record(ruleKeys, json)).map(([profile, rule]) => ({
  defaultAction: 'SCMP_ACT_ERRNO',
  ...profile,
  ...(profile.syscalls === undefined && { syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW', ...rule }] }),
}));
const malformed = fc.oneof(json, nearly);

test('profiles', () => {
  fc.assert(
    fc.property(malformed, (value) => {
      const profile = value as SeccompProfile;
      takenOrRefused(() => compile(profile, options));
      takenOrRefused(() => explain(profile, 'mkdirat', options));
      takenOrRefused(() => withNotify(profile, ['mkdirat']));
      takenOrRefused(() => parseProfile(JSON.stringify(value)));
    }),
    { numRuns: 300 },
  );
});

test('texts, options and names of system calls', () => {
  fc.assert(
    fc.property(fc.string(), json, (text, value) => {
      takenOrRefused(() => parseProfile(text));
      takenOrRefused(() => compile(profiles.strict, value as never));
      for (const key of ['arch', 'capabilities', 'kernelVersion', 'newerSyscalls'])
        takenOrRefused(() => compile(profiles.strict, { ...options, [key]: value } as never));
      takenOrRefused(() => explain(profiles.default, text, options));
      takenOrRefused(() => withNotify(profiles.default, value as never));
    }),
    { numRuns: 100 },
  );
});

const wrong = (value: unknown) => value as never;

test.each<[string, () => unknown]>([
  ['parseProfile', () => compile(parseProfile('['.repeat(100_000) + ']'.repeat(100_000)))],
  ['compile', () => compile(profiles.strict, { ...options, capabilities: wrong([{ toString: 0 }]) })],
  ['installFilter', () => installFilter(wrong(undefined))],
  ['installFilter', () => installFilter(Buffer.alloc(8), { flags: wrong('x') })],
  ['lowWordExcept', () => lowWordExcept(0, wrong('x'))],
  ['lowWordExcept', () => lowWordExcept(0, [2 ** 32])],
  ['lowWordEquals', () => lowWordEquals(0, wrong('x'))],
  ['simulate', () => simulate(wrong(undefined), { nr: 0, arch: 0, args: [] })],
])('%s is given something else', (_, call) => {
  expect(call).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', hint: expect.any(String) }));
});

test('an int below 0 is excluded and compared as the kernel reads it', () => {
  const rules = (args: ReturnType<typeof lowWordExcept>) =>
    args.map((arg) => ({ names: ['close'], action: 'SCMP_ACT_ALLOW' as const, args: [arg] }));
  const filter = compile({ defaultAction: 'SCMP_ACT_ERRNO', syscalls: rules(lowWordExcept(0, [-100])) }, options);
  const action = (fd: bigint) => filter.evaluate({ syscall: 'close', args: [fd] }).action;
  expect([-100n, 0xffffff9cn, -99n, 0n].map(action)).toEqual(['ERRNO', 'ERRNO', 'ALLOW', 'ALLOW']);
  expect(lowWordEquals(0, -1).valueTwo).toBe(0xffffffff);
});
