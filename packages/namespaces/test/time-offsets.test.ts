import { SpecError } from '@ns/libc';
import { formatTimeOffsets, parseTimeOffsets, parseTimeOffsetsSpec } from '@ns/namespaces';
import fc from 'fast-check';

test('a negative offset has positive nanoseconds', () => {
  expect(formatTimeOffsets({ monotonicNs: -1n, boottimeNs: 1_500_000_000n })).toBe(
    'monotonic -1 999999999\nboottime 1 500000000\n',
  );
});

test('what the kernel prints is read', () => {
  expect(parseTimeOffsets('monotonic           0         0\nboottime      604800         5\n')).toEqual({
    monotonicNs: 0n,
    boottimeNs: 604_800_000_000_005n,
  });
  expect(parseTimeOffsets('7 1 0\n')).toEqual({ monotonicNs: 0n, boottimeNs: 1_000_000_000n });
});

test.each(['monotonic 1', 'realtime 0 0', 'monotonic 1 -1', 'monotonic x 0', 'monotonic 1 1234567890'])(
  '%p is refused',
  (text) => {
    expect(() => parseTimeOffsets(text)).toThrow(SpecError);
  },
);

test('what is printed reads back', () => {
  const offset = fc.bigInt({ min: -(10n ** 18n), max: 10n ** 18n });
  fc.assert(
    fc.property(offset, offset, (monotonicNs, boottimeNs) => {
      expect(parseTimeOffsets(formatTimeOffsets({ monotonicNs, boottimeNs }))).toEqual({ monotonicNs, boottimeNs });
    }),
  );
});

test('options are numbers or bigints', () => {
  expect(parseTimeOffsetsSpec({ boottimeNs: -5 })).toEqual({ monotonicNs: 0n, boottimeNs: -5n });
  expect(parseTimeOffsetsSpec({ monotonicNs: 10n ** 18n }).monotonicNs).toBe(10n ** 18n);
});

test.each([
  { monotonicNs: 0.5 },
  { monotonicNs: 2 ** 60 },
  { boottimeNs: 10n ** 19n },
  { monotonicNs: '1' },
  { monotonic: 1 },
  null,
])('%p is refused', (spec) => {
  expect(() => parseTimeOffsetsSpec(spec as never)).toThrow(SpecError);
});
