import { MOUNT_ATTR, O, PR } from '@ns/libc';
import { formatCall } from '../src/format-call.ts';
import { Slot, type TracedCall } from '../src/program.ts';

const strings = new Map([[0x10000008, '/proc "x"\n']]);
const format = (name: TracedCall['name'], operands: TracedCall['operands'], options: TracedCall['options'] = {}) =>
  formatCall({ name, operands, options }, strings);

test('flags by name; bits nobody named stay as hex', () => {
  expect(format('openat', [-100, 0x10000008, O.PATH | O.CLOEXEC])).toBe(
    'openat(AT_FDCWD, "/proc \\"x\\"\\n", O_CLOEXEC|O_PATH)',
  );
  expect(format('fsmount', [5, 1, MOUNT_ATTR.RDONLY | 0x40000000])).toBe(
    'fsmount(5, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY|0x40000000)',
  );
  expect(format('umount2', [0, 0x10])).toBe('umount2(NULL, 0x10)');
});

test('options of prctl are values, not bits', () => {
  expect(format('prctl', [PR.SET_KEEPCAPS, 1])).toBe('prctl(PR_SET_KEEPCAPS, 1)');
  expect(format('prctl', [9999])).toBe('prctl(9999)');
});

test('no flags is 0 or the name of 0', () => {
  expect(format('unshare', [0])).toBe('unshare(0)');
  expect(format('openat', [3, 0x10000008, 0])).toMatch(/O_RDONLY\)$/);
});

test('modes are octal, with the type of the file', () => {
  expect(format('mkdirat', [3, 0x10000008, 0o1777])).toMatch(/01777\)$/);
  expect(format('mknodat', [3, 0x10000008, 0o020666, 259])).toMatch(/S_IFCHR\|0666, 259\)$/);
});

test('variables, results and tolerated errors', () => {
  const slot = new Slot(0x10000040);
  expect(format('fsopen', [0x10000008, 1], { store: slot, tolerate: ['EPERM', 'ENODEV'] })).toMatch(
    /-> \$40 \(may fail: EPERM, ENODEV\)$/,
  );
  expect(format('close', [slot], { tolerate: 'any' })).toBe('close($40) (may fail: any error)');
});

test('an address without text is an address', () => {
  expect(format('clone3', [0x10000100, 88])).toBe('clone3(0x10000100, 88)');
});

test('a call nobody described prints numbers', () => {
  expect(format('getppid', [])).toBe('getppid()');
  expect(format('kill', [12, 9n])).toBe('kill(12, 9)');
});
