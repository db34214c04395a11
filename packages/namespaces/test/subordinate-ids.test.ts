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
