import { compile, explain, parseProfile, profiles, type SeccompProfile, withNotify } from '@ns/seccomp';
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
