import { parseSubordinateIds, rangesOf } from '@ns/namespaces';

const text = `# comment
alice:100000:65536
1001:200000:1000
bob:5:0
bob:4294967295:1
bob:4294967290:10
bob:abc:3
bob:1
alice:300000:10
`;

test('lines of subuid; malformed ones are passed over', () => {
  expect(parseSubordinateIds(text)).toEqual([
    { user: 'alice', start: 100_000, size: 65_536 },
    { user: '1001', start: 200_000, size: 1000 },
    { user: 'alice', start: 300_000, size: 10 },
  ]);
});

test('a user is found by name and by uid', () => {
  const ranges = parseSubordinateIds(text);
  expect(rangesOf(ranges, { name: 'alice', uid: 1000 }).map(({ start }) => start)).toEqual([100_000, 300_000]);
  expect(rangesOf(ranges, { name: 'carol', uid: 1001 }).map(({ start }) => start)).toEqual([200_000]);
  expect(rangesOf(ranges, { name: 'bob', uid: 1002 })).toEqual([]);
});

test.each([
  ['no newline at the end', 'alice:1:2', 1],
  ['nothing', '', 0],
  ['the same line twice, as the file has it', 'alice:1:2\nalice:1:2\n', 2],
  ['the last id there is', 'alice:4294967294:1\n', 1],
  ['(uid_t) -1', 'alice:4294967295:1\n', 0],
  ['a sum that wraps in 32 bits', 'alice:4294967290:4294967290\n', 0],
  ['numbers beyond 32 bits', 'alice:99999999999:1\nalice:1:99999999999\n', 0],
  ['a sign, a space, hexadecimal', 'alice:-1:2\nalice: 1:2\nalice:0x1:2\n', 0],
  ['a comment behind a comment', '#alice:1:2\n # bob:1:2\n', 0],
  ['NUL bytes', 'alice:1\0:2\n', 0],
])('subuid: %s', (_, content, count) => {
  expect(parseSubordinateIds(content)).toHaveLength(count);
});

test('a huge file, and a line that never ends, are read in one pass', () => {
  const lines = Array.from({ length: 50_000 }, (_, index) => `user${index}:${index * 65_536}:1`).join('\n');
  expect(parseSubordinateIds(lines)).toHaveLength(50_000);
  expect(parseSubordinateIds(`alice:1:${'1'.repeat(1 << 20)}`)).toEqual([]);
  expect(parseSubordinateIds(`alice:1:2${' '.repeat(1 << 20)}x`)).toEqual([]);
});
