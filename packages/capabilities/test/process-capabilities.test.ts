import { readFileSync } from 'node:fs';
import { getProcessCapabilities, parseProcessStatus } from '@ns/capabilities';
import { SpecError } from '@ns/libc';

const status = `Name:\tcat
CapInh:\t0000000000000000
CapPrm:\t00000000a80425fb
CapEff:\t0000000000000001
CapBnd:\t000001ffffffffff
CapAmb:\t8000000000000000
`;

test('the five sets of a status file', () => {
  const sets = parseProcessStatus(status);
  expect(sets.inheritable.size).toBe(0);
  expect(sets.permitted.mask).toBe(0xa80425fbn);
  expect(sets.effective.names()).toEqual(['CAP_CHOWN']);
  expect(sets.bounding.mask).toBe(0x1ffffffffffn);
  expect(sets.ambient.names()).toEqual(['63']);
});

test('before Linux 4.3 there is no ambient set', () => {
  expect(parseProcessStatus(status.replace(/CapAmb.*\n/, '')).ambient.size).toBe(0);
});

test('a text without the sets is refused', () => {
  expect(() => parseProcessStatus('Name:\tCapEff: 0\n')).toThrow('CapEff');
});

test('our own sets are what the kernel says', () => {
  const digits = /^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/thread-self/status', 'latin1'))![1];
  expect(getProcessCapabilities('self').effective.toHex()).toBe(digits);
  expect(getProcessCapabilities().effective.toHex()).toBe(digits);
});

test('what is no process', () => {
  for (const pid of [0, -1, 1.5, '1/../2', null])
    expect(() => getProcessCapabilities(pid as number)).toThrow(SpecError);
  expect(() => getProcessCapabilities(2 ** 22 + 1)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
});
