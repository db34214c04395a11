import { formatSecurebits, getSecurebits, parseSecurebits } from '@ns/capabilities';
import { SpecError } from '@ns/libc';

test('names in the order of the bits; bits without a name are kept', () => {
  expect(formatSecurebits(0x80000011)).toEqual(['SECBIT_NOROOT', 'SECBIT_KEEP_CAPS', '0x80000000']);
  expect(parseSecurebits(['0x80000000', 'SECBIT_KEEP_CAPS', 'SECBIT_NOROOT'])).toBe(0x80000011);
  expect(formatSecurebits(0)).toEqual([]);
});

test('the nearest name is told', () => {
  for (const wrong of [['SECBIT_NOROOT_LOCK'], [1], [null], 'SECBIT_NOROOT', undefined])
    expect(() => parseSecurebits(wrong as never)).toThrow(SpecError);
  expect(() => parseSecurebits(['SECBIT_NOROOT_LOCK'])).toThrow('Did you mean SECBIT_NOROOT_LOCKED?');
});

test('the calling thread has some', () => {
  expect(Array.isArray(getSecurebits())).toBe(true);
});
