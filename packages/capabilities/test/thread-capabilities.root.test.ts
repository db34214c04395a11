import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import {
  CapabilitySet,
  clearAmbient,
  dropBounding,
  getProcessCapabilities,
  getSecurebits,
  lowerAmbient,
  raiseAmbient,
  setSecurebits,
  setThreadCapabilities,
} from '@ns/capabilities';
import { SpecError } from '@ns/libc';
import { needs, notRoot } from '@ns/testing';

const test = needs(notRoot);
const before = getProcessCapabilities('self');
const kernelSays = (key: string) =>
  new RegExp(`^${key}:\\s*(\\w+)`, 'm').exec(readFileSync('/proc/thread-self/status', 'latin1'))![1];

afterEach(() => {
  clearAmbient();
  setThreadCapabilities(before);
});

test('effective capabilities are given up and taken back', () => {
  const { permitted } = before;
  setThreadCapabilities({ permitted, effective: CapabilitySet.of('SETPCAP', 'BPF') });
  expect(kernelSays('CapEff')).toBe(CapabilitySet.of('SETPCAP', 'BPF').toHex());
  expect(kernelSays('CapPrm')).toBe(permitted.toHex());
  expect(kernelSays('CapInh')).toBe('0000000000000000');
  setThreadCapabilities({ permitted, effective: permitted });
  expect(kernelSays('CapEff')).toBe(permitted.toHex());
});

test('effective beyond permitted is refused', () => {
  const attempt = () => setThreadCapabilities({ permitted: CapabilitySet.empty, effective: CapabilitySet.of('CHOWN') });
  expect(attempt).toThrow(expect.objectContaining({ code: 'EPERM', syscall: 'capset' }));
  expect(kernelSays('CapPrm')).toBe(before.permitted.toHex());
});

test('the ambient set is raised, lowered, cleared, and inherited by an ordinary program', () => {
  const set = CapabilitySet.of('NET_RAW', 'KILL');
  expect(() => raiseAmbient(['KILL'])).toThrow('inheritable');
  setThreadCapabilities({ ...before, inheritable: set });
  raiseAmbient(set);
  expect(kernelSays('CapAmb')).toBe(set.toHex());
  const child = execFileSync('cat', ['/proc/self/status'], { encoding: 'utf8' });
  expect(child).toContain(`CapAmb:	${set.toHex()}`);
  lowerAmbient(['cap_kill']);
  expect(kernelSays('CapAmb')).toBe(CapabilitySet.of('NET_RAW').toHex());
  clearAmbient();
  expect(kernelSays('CapAmb')).toBe('0000000000000000');
});

test('a misspelt name changes nothing', () => {
  expect(() => dropBounding(['WAKE_ALARM', 'WAKE_ALRM'])).toThrow(SpecError);
  expect(kernelSays('CapBnd')).toBe(before.bounding.toHex());
});

test('securebits are set, read and cleared', () => {
  setSecurebits(['SECBIT_KEEP_CAPS', 'SECBIT_NO_CAP_AMBIENT_RAISE']);
  expect(getSecurebits()).toEqual(['SECBIT_KEEP_CAPS', 'SECBIT_NO_CAP_AMBIENT_RAISE']);
  setThreadCapabilities({ ...before, inheritable: CapabilitySet.of('KILL') });
  expect(() => raiseAmbient(['KILL'])).toThrow('SECBIT_NO_CAP_AMBIENT_RAISE');
  setSecurebits([]);
  expect(getSecurebits()).toEqual([]);
});

// For good, so it comes last: this process goes on without the capability that nothing here uses.
test('what left the bounding set is gone for the thread and its children', () => {
  dropBounding(['cap_wake_alarm']);
  expect(getProcessCapabilities('self').bounding.has('WAKE_ALARM')).toBe(false);
  const child = execFileSync('cat', ['/proc/self/status'], { encoding: 'utf8' });
  expect(child).toContain(`CapBnd:\t${before.bounding.difference(CapabilitySet.of('WAKE_ALARM')).toHex()}`);
});
