import { PLACE_SIZE, placeMessage, recordsOf } from '../src/entrusted.ts';

/* What is entrusted is refused when the caretaker could not see to it. */

test.each([
  ['files[1]', { files: ['/a', 'b'] }],
  ['cgroups[0]', { cgroups: [''] }],
  ['directories[0]', { directories: ['/a\0b'] }],
  ['parents[0]', { parents: ['../a'] }],
  ['links[0].path', { links: [{ path: 'a', target: 'b' }] }],
  ['links[0].path', { links: [{ path: `/${'a'.repeat(4094)}`, target: 'b'.repeat(4095) }] }],
  ['files[0]', { files: [`/${'a'.repeat(8200)}`] }],
  ['requests[1].message', { requests: [0, PLACE_SIZE].map((size) => ({ protocol: 0, message: Buffer.alloc(size) })) }],
] as const)('%s', (field, belongings) => {
  expect(() => recordsOf(belongings)).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field }));
});

test('the longest path and the largest request find room, many in several messages', () => {
  const path = `/${'ä'.repeat(2047)}`;
  const message = Buffer.alloc(8000, 1);
  const messages = recordsOf({ files: [path, '/a'], requests: [1, 2].map(() => ({ protocol: 12, message })) });
  expect(messages.map((records) => records.length)).toEqual([1, 1, 2]);
  for (const records of messages) expect(placeMessage(1, records).length).toBeLessThan(PLACE_SIZE);
});
