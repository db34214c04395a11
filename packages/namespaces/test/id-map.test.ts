import { SpecError } from '@ns/libc';
import { IdMap, ownIdMappings, parseIdMappings } from '@ns/namespaces';
import fc from 'fast-check';

const range = (container: number, host: number, size: number) => ({ container, host, size });

test('one range, both ways', () => {
  const map = IdMap.single(0, 100_000, 65_536);
  expect(map.toHost(33)).toBe(100_033);
  expect(map.toContainer(100_033)).toBe(33);
  expect(map.toHost(65_536)).toBeUndefined();
  expect(map.toContainer(0)).toBeUndefined();
  expect(map.toContainer(99_999)).toBeUndefined();
  expect(map.size).toBe(65_536);
  expect(`${map}`).toBe('0 100000 65536\n');
});

test('several ranges, as the kernel prints them', () => {
  const map = IdMap.parse('         0       1000          1\n         1     100000      65536\n');
  expect(map.ranges).toEqual([range(0, 1000, 1), range(1, 100_000, 65_536)]);
  expect(map.toHost(0)).toBe(1000);
  expect(map.toHost(1)).toBe(100_000);
  expect(JSON.stringify(map)).toBe('[{"container":0,"host":1000,"size":1},{"container":1,"host":100000,"size":65536}]');
});

test('the map of the initial user namespace', () => {
  const map = IdMap.parse('         0          0 4294967295\n');
  expect(map.toHost(4_294_967_294)).toBe(4_294_967_294);
});

test.each([
  ['no range', []],
  ['not an array', {}],
  ['size 0', [range(0, 0, 0)]],
  ['negative', [range(-1, 0, 1)]],
  ['fraction', [range(0.5, 0, 1)]],
  ['beyond 32 bits', [range(0, 2 ** 32, 1)]],
  ['(uid_t) -1', [range(0, 0xffffffff, 1)]],
  ['wraps inside', [range(1, 0, 0xffffffff)]],
  ['wraps outside', [range(0, 0xfffffffe, 2)]],
  ['overlap inside', [range(0, 0, 10), range(9, 100, 1)]],
  ['overlap outside', [range(0, 0, 10), range(10, 9, 1)]],
  ['contained', [range(0, 0, 10), range(20, 3, 1)]],
  ['unknown key', [{ ...range(0, 0, 1), hostID: 3 }]],
  ['null', [null]],
  ['text', [{ container: '0', host: 0, size: 1 }]],
  ['341 ranges', Array.from({ length: 341 }, (_, i) => range(i, i, 1))],
])('%s is refused', (_, ranges) => {
  expect(() => IdMap.of(ranges as never)).toThrow(SpecError);
});

test('340 ranges are taken, if their text is less than a page', () => {
  expect(IdMap.of(Array.from({ length: 340 }, (_, i) => range(i, i, 1))).ranges).toHaveLength(340);
  const long = Array.from({ length: 340 }, (_, i) => range(i, 1_000_000_000 + 2 * i, 1));
  expect(() => IdMap.of(long)).toThrow('4096 bytes');
});

test.each(['0 0', '0 0 1 2', 'a b c', '0 0 -1', '0 0 99999999999', '', '0\t0\t0'])('text %p is refused', (text) => {
  expect(() => IdMap.parse(text)).toThrow(SpecError);
});

test('the error names the range', () => {
  expect(() => IdMap.of([range(0, 0, 1), range(1, 1, 0)], 'idMap.uids')).toThrow('idMap.uids[1].size');
});

test('what is printed reads back, and translation goes there and back', () => {
  const maps = fc
    .array(
      fc.tuple(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 50 })),
      { minLength: 1, maxLength: 20 },
    )
    .map((steps) => {
      let [container, host] = [0, 0];
      return steps.map(([size, gapInside, gapOutside]) => {
        const each = range(container + gapInside, host + gapOutside, size);
        [container, host] = [each.container + size, each.host + size];
        return each;
      });
    });
  fc.assert(
    fc.property(maps, fc.nat(30_000), (ranges, id) => {
      const map = IdMap.of(ranges);
      expect(IdMap.parse(`${map}`)).toEqual(map);
      const outside = map.toHost(id);
      if (outside !== undefined) expect(map.toContainer(outside)).toBe(id);
    }),
  );
});

test('a map cannot be changed', () => {
  const map = IdMap.single(0, 0);
  expect(() => Object.assign(map.ranges[0]!, { host: 1 })).toThrow(TypeError);
});

test('both maps must have a root', () => {
  expect(() => parseIdMappings({ uids: [range(0, 1, 1)], gids: [range(1, 1, 1)] })).toThrow(
    'idMap.gids: expected a map that has id 0 inside',
  );
  expect(() => parseIdMappings({ uids: [range(0, 1, 1)] } as never)).toThrow(SpecError);
  expect(() => parseIdMappings({ uid: [] } as never)).toThrow('Did you mean uids?');
  expect(parseIdMappings({ uids: [range(0, 5, 1)], gids: [range(0, 6, 1)] }).uids.toHost(0)).toBe(5);
});

test('own ids, and the map of our own user namespace', () => {
  expect(ownIdMappings().uids.toHost(0)).toBe(process.geteuid!());
  expect(IdMap.read('self', 'uid')?.toContainer(process.geteuid!())).toBeDefined();
  expect(() => IdMap.read(2 ** 22 + 1, 'gid')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
});
