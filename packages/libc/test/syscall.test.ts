import {
  addressOf,
  allocate,
  ERRNO,
  O,
  OwnedFd,
  open,
  pipe,
  readInto,
  SYS,
  SyscallError,
  syscall,
  syscallName,
  write,
} from '@ns/libc';

test('a system call returns its result or the negated errno', () => {
  expect(syscall(SYS.getpid)).toBe(process.pid);
  expect(syscall(SYS.close, 99_999)).toBe(-ERRNO.EBADF);
});

test('names and numbers agree with the kernel headers', () => {
  expect(syscallName(SYS.openat2)).toBe('openat2');
  expect(SYS.openat2).toBe(437);
  expect(syscallName(9999)).toBe('syscall_9999');
});

test('what was written into a pipe is read from it', () => {
  const { read, write: end } = pipe();
  write(end.fd, Buffer.from('hello'));
  const into = allocate(16);
  expect(readInto(read.fd, into.bytes)).toBe(5);
  expect(into.bytes.toString('utf8', 0, 5)).toBe('hello');
  read.close();
  end.close();
  expect(end.closed).toBe(true);
});

test('an error has the shape of Node errors', () => {
  const error = (() => {
    try {
      open('/does/not/exist', O.RDONLY);
    } catch (caught) {
      return caught as SyscallError;
    }
  })()!;
  expect(error).toBeInstanceOf(SyscallError);
  expect(error).toMatchObject({ code: 'ENOENT', errno: -2, syscall: 'openat', path: '/does/not/exist' });
});

test('a path with a NUL byte never reaches the kernel', () => {
  expect(() => open('/etc\0/passwd', O.RDONLY)).toThrow(/without NUL/);
});

test('memory addresses are stable', () => {
  const { bytes, address } = allocate(8);
  expect(addressOf(bytes)).toBe(address);
  expect(new OwnedFd(syscall(SYS.eventfd2, 0, O.CLOEXEC)).fd).toBeGreaterThan(2);
});
