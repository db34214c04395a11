import {
  CapabilitySet,
  capabilityNumber,
  dockerDefault,
  formatCapabilities,
  parseCapabilities,
  parseFileCapabilities,
  parseSecurebits,
  readFileCapabilities,
  resolveCapabilities,
  setThreadCapabilities,
} from '@ns/capabilities';
import { takenOrRefused } from '@ns/testing';
import fc from 'fast-check';

/* Whatever is handed over as capabilities is taken, or refused by name. */

const json = fc.jsonValue({ maxDepth: 3 });
const changes = fc.record({ add: json, drop: json }, { requiredKeys: [] });

test('specifications', () => {
  fc.assert(
    fc.property(fc.oneof(json, changes), (value) => {
      const spec = value as never;
      takenOrRefused(() => resolveCapabilities(spec, CapabilitySet.all()));
      takenOrRefused(() => capabilityNumber(spec));
      takenOrRefused(() => CapabilitySet.from(spec));
      takenOrRefused(() => parseSecurebits(spec));
      takenOrRefused(() => formatCapabilities(spec));
    }),
  );
});

test('texts', () => {
  const words = fc.array(fc.constantFrom('cap_chown', 'all', ',', '=', '+', '-', 'eip', 'p', ' ', '99', 'x', '\0'));
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        words.map((parts) => parts.join('')),
      ),
      (text) => {
        takenOrRefused(() => parseCapabilities(text));
        takenOrRefused(() => parseFileCapabilities(text));
        takenOrRefused(() => CapabilitySet.fromHex(text));
        takenOrRefused(() => capabilityNumber(text));
      },
    ),
  );
});

const wrong = (value: unknown) => value as never;

test.each<[string, () => unknown]>([
  ['union', () => dockerDefault.union(wrong(null))],
  ['isSubsetOf', () => dockerDefault.isSubsetOf(wrong({}))],
  ['equals', () => dockerDefault.equals(wrong(undefined))],
  ['fromHex', () => CapabilitySet.fromHex(wrong(12))],
  ['setThreadCapabilities', () => setThreadCapabilities(wrong(null))],
  ['setThreadCapabilities', () => setThreadCapabilities(wrong({ effective: 1, permitted: 2 }))],
  ['resolveCapabilities', () => resolveCapabilities({}, wrong({}))],
  ['readFileCapabilities', () => readFileCapabilities(wrong({}))],
  ['readFileCapabilities', () => readFileCapabilities(-1)],
  ['parseFileCapabilities', () => parseFileCapabilities('cap_chown=ep', wrong(null))],
])('%s is given something else', (_, call) => {
  expect(call).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', hint: expect.any(String) }));
});
