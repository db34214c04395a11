import { NsError, SyscallError } from '@ns/libc';
import { namespaceHint, namespaceKind } from '@ns/namespaces';
import { checkAction } from '../src/hints.ts';

test('a failure carries the next action', () => {
  const attempt = () => checkAction('timeOffsets', 'write', -13, { path: '/proc/1/timens_offsets' });
  expect(attempt).toThrow(SyscallError);
  expect(attempt).toThrow(expect.objectContaining({ code: 'EACCES', hint: namespaceHint('timeOffsets', 'EACCES') }));
  expect(checkAction('open', 'openat', 3)).toBe(3);
  expect(namespaceHint('open', 'EIO')).toBeUndefined();
});

test('kinds by the names of the kernel and of OCI', () => {
  expect(namespaceKind('mount')).toBe('mnt');
  expect(namespaceKind('network')).toBe('net');
  expect(namespaceKind('time')).toBe('time');
  for (const name of ['', 'Net', 'toString', undefined]) expect(() => namespaceKind(name as string)).toThrow(NsError);
});
