import { SpecError } from '@ns/libc';
import {
  categoryPairLevel,
  checkLandlockSpec,
  containerLabels,
  defaultAppArmorProfile,
  formatSelinuxContext,
  LandlockRuleset,
  parseSelinuxContext,
  planLandlock,
  selinuxAllows,
  spawnRestricted,
  userNamespaceProfile,
} from '@ns/lsm';
import { takenOrRefused } from '@ns/testing';
import fc from 'fast-check';

/* Whatever is handed over as a ruleset, a label or a name is taken, or refused by name. */

const json = fc.jsonValue({ maxDepth: 3 });
const ruleset = fc.record({ files: json, network: json, scopes: json, logging: json }, { requiredKeys: [] });
const context = fc.record({ user: json, role: json, type: json, level: json, name: json }, { requiredKeys: [] });

test('specifications', () => {
  fc.assert(
    fc.property(fc.oneof(json, ruleset, context, fc.string()), (value) => {
      const spec = value as never;
      takenOrRefused(() => checkLandlockSpec(spec));
      takenOrRefused(() => parseSelinuxContext(spec));
      takenOrRefused(() => formatSelinuxContext(spec));
      takenOrRefused(() => containerLabels(spec));
      takenOrRefused(() => categoryPairLevel(spec, spec));
      takenOrRefused(() => defaultAppArmorProfile(spec));
      takenOrRefused(() => userNamespaceProfile(spec));
      expect(() => selinuxAllows(spec)).toThrow(SpecError);
    }),
  );
});

const wrong = (value: unknown) => value as never;
const landlock = { files: { execute: ['/'] } };

test.each<[string, () => unknown]>([
  ['LandlockRuleset.create', () => LandlockRuleset.create(landlock, wrong({ enforced: 'all' }))],
  ['LandlockRuleset.create', () => LandlockRuleset.create(landlock, wrong(null))],
  ['planLandlock', () => planLandlock(landlock, wrong({ enforced: 'all' }))],
  ['spawnRestricted', () => spawnRestricted('true', [], { landlock, stdio: wrong(['null']) })],
  ['spawnRestricted', () => spawnRestricted('true', [], { landlock, signal: wrong(5) })],
])('%s is given something else', (_, call) => {
  expect(call).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', hint: expect.any(String) }));
});
