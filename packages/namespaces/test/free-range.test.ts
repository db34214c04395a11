import fc from 'fast-check';
import { findFreeRange, intersect } from '../src/free-range.ts';

const interval = fc.record({ start: fc.nat(200), size: fc.integer({ min: 1, max: 40 }) });

test('the result is free, within a pool, and the lowest such', () => {
  fc.assert(
    fc.property(
      fc.array(interval, { maxLength: 3 }),
      fc.array(interval, { maxLength: 12 }),
      fc.integer({ min: 1, max: 30 }),
      (pools, taken, size) => {
        const free = (start: number) =>
          pools.some((pool) => start >= pool.start && start + size <= pool.start + pool.size) &&
          taken.every((each) => each.start >= start + size || each.start + each.size <= start);
        const lowest = Array.from({ length: 300 }, (_, start) => start).find(free);
        expect(findFreeRange(pools, taken, size)).toEqual(lowest === undefined ? undefined : { start: lowest, size });
      },
    ),
  );
});

test('an intersection has the ids that are in both', () => {
  fc.assert(
    fc.property(interval, interval, (a, b) => {
      const inside = (id: number, each: { start: number; size: number } | undefined) =>
        each !== undefined && id >= each.start && id < each.start + each.size;
      const shared = intersect(a, b);
      for (let id = 0; id < 250; id++) expect(inside(id, shared)).toBe(inside(id, a) && inside(id, b));
    }),
  );
});
