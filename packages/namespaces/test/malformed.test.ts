import {
  canWriteDirectly,
  checkDomainname,
  checkHostname,
  enter,
  IdMap,
  listNamespaces,
  Namespace,
  namespaceKind,
  ownIdMappings,
  parseIdMappings,
  parseSubordinateIds,
  parseTimeOffsets,
  parseTimeOffsetsSpec,
  rangesOf,
  readSubordinateIds,
  writeIdMapsDirectly,
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

const wrong = (value: unknown) => value as never;
const here = { target: process.pid, namespaces: [] } as const;
const ownMaps = ownIdMappings();

test.each<[string, () => unknown]>([
  ['IdMap.parse', () => IdMap.parse(wrong(undefined))],
  ['IdMap.read', () => IdMap.read('self', wrong('../uid'))],
  ['parseTimeOffsets', () => parseTimeOffsets(wrong(undefined))],
  ['parseSubordinateIds', () => parseSubordinateIds(wrong(undefined))],
  ['readSubordinateIds', () => readSubordinateIds(wrong('../passwd'))],
  ['rangesOf', () => rangesOf(wrong(null))],
  ['canWriteDirectly', () => canWriteDirectly(wrong({}))],
  ['writeIdMapsDirectly', () => writeIdMapsDirectly(process.pid, { ...ownMaps, setgroups: wrong('never') })],
  ['Namespace.open', () => Namespace.open('net', { pidfd: wrong('x') })],
  ['listNamespaces', () => listNamespaces(wrong({ kind: ['net'] }))],
  ...[
    { env: { 'A=B': 'x' } },
    { env: { A: 1 } },
    { env: { A: '\0' } },
    { env: 'x' },
    { user: { uid: -1, gid: 0 } },
    { user: { uid: 0, gid: 0, groups: ['x'] } },
    { user: 5 },
    { stdin: 'x' },
    { stdin: {} },
    { cwd: 5 },
    { cwd: '/\0' },
    { signal: 5 },
  ].map((options): [string, () => unknown] => ['enter', () => enter(here, 'true', [], wrong(options))]),
  ['enter', () => enter(here, 'tr\0ue')],
])('%s is given something else', (_, call) => {
  expect(call).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', hint: expect.any(String) }));
});
