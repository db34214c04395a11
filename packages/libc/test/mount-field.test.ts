import fc from 'fast-check';
import { unescapeMountField } from '../src/index.ts';

test.each([
  ['/media/my\\040disk', '/media/my disk'],
  ['a\\011b\\012c\\134d\\043e\\054f\\072', 'a\tb\nc\\d#e,f:'],
  ['\\134040', '\\040'],
  ['\\09x', '\\09x'],
])('%j', (field, text) => {
  expect(unescapeMountField(field)).toBe(text);
});

test('whatever the kernel has escaped comes back', () => {
  const escaped = (text: string) =>
    text.replace(/[ \t\n\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => expect(unescapeMountField(escaped(text))).toBe(text)),
  );
});
