import {
  checkDomainname,
  checkHostname,
  IdMap,
  namespaceKind,
  parseIdMappings,
  parseSubordinateIds,
  parseTimeOffsets,
  parseTimeOffsetsSpec,
} from '@ns/namespaces';
import { takenOrRefused } from '@ns/testing';
import fc from 'fast-check';

/* Whatever is handed over as a map, offsets or a name is taken, or refused by name. */

const json = fc.jsonValue({ maxDepth: 3 });
const range = fc.record({ container: json, host: json, size: json }, { requiredKeys: [] });
const maps = fc.record({ uids: fc.oneof(json, fc.array(range)), gids: fc.array(range) }, { requiredKeys: [] });
const offsets = fc.record({ monotonicNs: json, boottimeNs: json }, { requiredKeys: [] });

test('specifications', () => {
  fc.assert(
    fc.property(fc.oneof(json, maps, offsets, fc.array(range)), (value) => {
      const spec = value as never;
      takenOrRefused(() => parseIdMappings(spec));
      takenOrRefused(() => IdMap.of(spec));
      takenOrRefused(() => IdMap.single(spec, spec, spec));
      takenOrRefused(() => parseTimeOffsetsSpec(spec));
      takenOrRefused(() => checkHostname(spec));
      takenOrRefused(() => checkDomainname(spec));
      takenOrRefused(() => namespaceKind(spec));
    }),
  );
});

test('texts', () => {
  const numbers = fc.array(fc.constantFrom('0', '1', '4294967295', '-1', ' ', '\n', ':', 'root', 'monotonic'));
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        numbers.map((parts) => parts.join(' ')),
      ),
      (text) => {
        takenOrRefused(() => IdMap.parse(text));
        takenOrRefused(() => parseSubordinateIds(text));
        takenOrRefused(() => parseTimeOffsets(text));
      },
    ),
  );
});
