import { readdirSync, readFileSync } from 'node:fs';
import { parseProfile, type SeccompProfile } from '@ns/seccomp';
import { needs } from '@ns/testing';
import { compareWithLibseccomp, machines } from './compare-with-libseccomp.ts';
import { noLibseccomp, ruleNames } from './libseccomp.ts';

// Profiles of the kinds that are in use, in the form of files that users bring: a container engine's, a list with a rule for
// each call in the old form, what a service manager restricts, a desktop sandbox, a browser's renderer, a template with the
// rules of its plugs, a list that kills, and what a tracer saw of a server.
const directory = new URL('profiles/', import.meta.url);
const profiles = readdirSync(directory).map((file): [string, SeccompProfile] => [
  file,
  parseProfile(readFileSync(new URL(file, directory), 'utf8')),
]);

/** Capabilities between which `includes` and `excludes` of the profiles tell. */
const capabilitySets = [
  [],
  ['CAP_SYS_ADMIN', 'CAP_SYS_PTRACE', 'CAP_AUDIT_WRITE', 'CAP_SYS_TIME'],
  ['CAP_BPF', 'CAP_PERFMON', 'CAP_SYS_MODULE', 'CAP_DAC_READ_SEARCH'],
];

const oracle = needs(noLibseccomp);

describe.each(profiles)('%s', (_, profile) => {
  const asksForCapabilities = profile.syscalls!.some(({ includes, excludes }) => includes?.caps || excludes?.caps);

  for (const machine of machines) {
    for (const capabilities of asksForCapabilities ? capabilitySets : [[]]) {
      oracle(`decides as libseccomp has it on ${machine.arch} ${capabilities.join(' ')}`, () => {
        const { differences, unknown, calls } = compareWithLibseccomp(profile, machine, capabilities);
        expect(differences).toEqual([]);
        // Everything was compared: the library refused no rule and knew every name.
        expect(unknown).toEqual([]);
        expect(calls).toBeGreaterThan(600);
      });
    }
  }
});

test('together they have everything a profile can have', () => {
  const rules = profiles.flatMap(([, { syscalls }]) => syscalls!);
  const args = rules.flatMap((rule) => rule.args ?? []);
  expect(rules.length).toBeGreaterThan(1500);
  expect(new Set(rules.map(({ action }) => action)).size).toBe(8);
  expect(new Set(args.map(({ op }) => op)).size).toBe(7);
  expect(new Set(args.map(({ index }) => index)).size).toBe(6);
  expect(args.filter(({ value }) => BigInt(value) >> 32n).length).toBeGreaterThan(50);
  expect(rules.filter((rule) => rule.args && rule.args.length > 2).length).toBeGreaterThan(10);
  for (const condition of ['caps', 'arches', 'minKernel'] as const) {
    expect(rules.filter(({ includes }) => includes?.[condition]).length).toBeGreaterThan(0);
    expect(rules.filter(({ excludes }) => excludes?.[condition]).length).toBeGreaterThan(0);
  }
  const severalRules = new Map<string, number>();
  for (const name of rules.flatMap(ruleNames)) severalRules.set(name, (severalRules.get(name) ?? 0) + 1);
  expect(Math.max(...severalRules.values())).toBeGreaterThan(50);
});
