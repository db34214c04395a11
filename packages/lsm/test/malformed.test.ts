import { SpecError } from '@ns/libc';
import {
  categoryPairLevel,
  checkLandlockSpec,
  containerLabels,
  defaultAppArmorProfile,
  formatSelinuxContext,
  parseSelinuxContext,
  selinuxAllows,
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
