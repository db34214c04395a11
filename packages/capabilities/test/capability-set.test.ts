import { inspect } from 'node:util';
import {
  CapabilitySet,
  capabilityName,
  capabilityNames,
  capabilityNumber,
  dockerDefault,
  lastCapability,
} from '@ns/capabilities';
import { SpecError } from '@ns/libc';
import fc from 'fast-check';

const mask = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

test('the default is the mask of Docker and of security advisories', () => {
  expect(dockerDefault.mask).toBe(0xa80425fbn);
  expect(dockerDefault.size).toBe(14);
  expect(dockerDefault.toHex()).toBe('00000000a80425fb');
});

test('names are found with and without the prefix, in any case, and by number', () => {
  for (const spelling of ['CAP_NET_RAW', 'cap_net_raw', 'net_raw', 'Net_Raw', 13, '13']) {
    expect(capabilityNumber(spelling)).toBe(13);
  }
});

test.each([
  ['CAP_NET_RWA', 'Did you mean CAP_NET_RAW?'],
  ['sysadmin', 'Did you mean CAP_SYS_ADMIN?'],
])('the nearest name is told for %s', (name, hint) => {
  expect(() => capabilityNumber(name)).toThrow(SpecError);
  expect(() => capabilityNumber(name)).toThrow(hint);
});

test.each(['', 'CAP_', 'CAP_CAP_CHOWN', '64', '-1', 'ALL', ' CHOWN', 64, -1, 1.5, Number.NaN, null, {}])(
  '%p is no capability',
  (value) => {
    expect(() => capabilityNumber(value as string)).toThrow(SpecError);
  },
);

test('an error says where the name stood', () => {
  expect(() => CapabilitySet.from(['CHOWN', 'nope'], 'capabilities.add')).toThrow('capabilities.add[1]:');
});

test('bits without a name are kept, as numbers', () => {
  const set = CapabilitySet.fromMask((1n << 63n) | 1n);
  expect([...set]).toEqual(['CAP_CHOWN', '63']);
  expect(CapabilitySet.from(set).equals(set)).toBe(true);
  expect(capabilityName(63)).toBe('63');
});

test('set algebra agrees with the masks', () => {
  fc.assert(
    fc.property(mask, mask, (a, b) => {
      const [left, right] = [CapabilitySet.fromMask(a), CapabilitySet.fromMask(b)];
      expect(left.union(right).mask).toBe(a | b);
      expect(left.intersection(right).mask).toBe(a & b);
      expect(left.difference(right).mask).toBe(a & ~b);
      expect(left.isSubsetOf(right)).toBe((a & b) === a);
      expect(CapabilitySet.from(left).mask).toBe(a);
      expect(CapabilitySet.fromHex(left.toHex()).mask).toBe(a);
      expect(left.size).toBe([...left].length);
    }),
  );
});

test('a set cannot be changed', () => {
  expect(() => Object.assign(dockerDefault, { mask: 0n })).toThrow(TypeError);
});

test.each([-1n, 1n << 64n, 5 as unknown as bigint])('mask %p is refused', (value) => {
  expect(() => CapabilitySet.fromMask(value)).toThrow(SpecError);
});

test.each(['', 'xyz', '0x1', '11112222333344445'])('hexadecimal text %p is refused', (value) => {
  expect(() => CapabilitySet.fromHex(value)).toThrow(SpecError);
});

test('text, JSON and inspection', () => {
  const set = CapabilitySet.of('kill', 'chown');
  expect(String(set)).toBe('cap_chown,cap_kill');
  expect(JSON.stringify(set)).toBe('["CAP_CHOWN","CAP_KILL"]');
  expect(inspect(set)).toBe('CapabilitySet(2) { CAP_CHOWN, CAP_KILL }');
});

test('all is what the running kernel knows', () => {
  expect(CapabilitySet.all().size).toBe(lastCapability() + 1);
  expect(capabilityNames).toHaveLength(41);
});
