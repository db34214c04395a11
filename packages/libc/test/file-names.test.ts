import fc from 'fast-check';
import { decodeFileName, encodeFileName } from '../src/index.ts';

test('text in UTF-8 is itself', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (name) => {
      expect(decodeFileName(Buffer.from(name))).toBe(name);
      expect(encodeFileName(name).equals(Buffer.from(name))).toBe(true);
    }),
  );
});

test('any bytes survive the way to text and back', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      const name = decodeFileName(Buffer.from(bytes));
      expect(encodeFileName(name).equals(Buffer.from(bytes))).toBe(true);
    }),
  );
});

test.each([
  ['a byte that is no UTF-8', 'ff', '\udcff'],
  ['a sequence that is cut', '61c3', 'a\udcc3'],
  ['an overlong slash', 'c0af', '\udcc0\udcaf'],
  ['the encoding of a surrogate', 'edb080', '\udced\udcb0\udc80'],
])('%s', (_, hex, text) => {
  expect(decodeFileName(Buffer.from(hex, 'hex'))).toBe(text);
  expect(encodeFileName(text).toString('hex')).toBe(hex);
});
