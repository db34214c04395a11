import {
  CapabilitySet,
  decodeFileCapabilities,
  encodeFileCapabilities,
  formatCapabilities,
  formatFileCapabilities,
  parseFileCapabilities,
} from '@ns/capabilities';
import { SpecError } from '@ns/libc';
import fc from 'fast-check';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

test('version 2, as setcap cap_net_raw=ep writes it', () => {
  const bytes = hex('01000002 00200000 00000000 00000000 00000000');
  const capabilities = { permitted: CapabilitySet.of('NET_RAW'), inheritable: CapabilitySet.empty, effective: true };
  expect(decodeFileCapabilities(bytes)).toEqual(capabilities);
  expect(encodeFileCapabilities(capabilities)).toEqual(bytes);
  expect(formatFileCapabilities(capabilities)).toBe('cap_net_raw=ep');
});

test('version 3 with a root id and a capability above 31', () => {
  const bytes = hex('00000003 00000000 01000000 80000000 00000000 a0860100');
  const capabilities = {
    permitted: CapabilitySet.of('BPF'),
    inheritable: CapabilitySet.of('CHOWN'),
    effective: false,
    rootId: 100000,
  };
  expect(decodeFileCapabilities(hex('00000003 00000000 01000000 80000000 00000000 a0860100'))).toEqual(capabilities);
  expect(encodeFileCapabilities(capabilities)).toEqual(bytes);
});

test('version 1 has one word of each set', () => {
  expect(decodeFileCapabilities(hex('00000001 01000000 20000000'))).toEqual({
    permitted: CapabilitySet.of('CHOWN'),
    inheritable: CapabilitySet.of('KILL'),
    effective: false,
  });
});

test.each([
  '',
  '000000',
  '01000002',
  '00000004 00000000 00000000 00000000 00000000',
  '01000003 00200000 00000000 00000000 00000000',
])('malformed attribute %p is refused', (text) => {
  expect(() => decodeFileCapabilities(hex(text))).toThrow(SpecError);
});

test('a view into a larger buffer is read at its own place', () => {
  const bytes = Buffer.concat([Buffer.alloc(4), hex('01000002 00200000 00000000 00000000 00000000')]).subarray(4);
  expect(
    decodeFileCapabilities(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)).permitted.names(),
  ).toEqual(['CAP_NET_RAW']);
});

test('one bit decides about all effective capabilities', () => {
  expect(parseFileCapabilities('cap_chown=ep cap_kill=ei').effective).toBe(true);
  expect(parseFileCapabilities('cap_chown=p').effective).toBe(false);
  expect(() => parseFileCapabilities('cap_chown=ep cap_kill=p')).toThrow('one bit');
  expect(() => parseFileCapabilities('cap_chown=e')).toThrow(SpecError);
});

test.each([-1, 1.5, 0xffffffff, Number.NaN])('root id %p is refused', (rootId) => {
  expect(() => parseFileCapabilities('cap_chown=p', { rootId })).toThrow(SpecError);
});

test('what is encoded decodes to the same', () => {
  const set = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((mask) => CapabilitySet.fromMask(mask));
  const capabilities = fc.record(
    { permitted: set, inheritable: set, effective: fc.boolean(), rootId: fc.integer({ min: 0, max: 0xfffffffe }) },
    { requiredKeys: ['permitted', 'inheritable', 'effective'] },
  );
  fc.assert(
    fc.property(capabilities, (value) => {
      expect(decodeFileCapabilities(encodeFileCapabilities(value))).toEqual(value);
    }),
  );
});

test.each([
  undefined,
  null,
  7,
  [],
  { permitted: [] },
  { permitted: CapabilitySet.empty, effective: 1 },
  { permited: 1 },
])('%p is refused as what it is', (wrong) => {
  expect(() => decodeFileCapabilities(wrong as never)).toThrow(SpecError);
  expect(() => encodeFileCapabilities(wrong as never)).toThrow(SpecError);
  expect(() => formatFileCapabilities(wrong as never)).toThrow(SpecError);
  expect(() => formatCapabilities(wrong as never)).toThrow(SpecError);
});
