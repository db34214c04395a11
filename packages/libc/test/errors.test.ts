import { check, ERRNO, hasCode, NsError, SpecError, SyscallError, UnavailableError } from '../src/index.ts';

const thrown = (body: () => unknown): unknown => {
  try {
    body();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
};

describe('SyscallError', () => {
  test('has the shape of Node errors', () => {
    const error = new SyscallError('mount', -16, { path: '/a', dest: '/b', args: { flags: 'MS_BIND' } });
    expect(error).toMatchObject({
      name: 'SyscallError',
      code: 'EBUSY',
      errno: -16,
      syscall: 'mount',
      path: '/a',
      dest: '/b',
      args: { flags: 'MS_BIND' },
    });
    expect(error.message).toBe("mount '/a' -> '/b': EBUSY device or resource busy");
    expect(error).toBeInstanceOf(NsError);
    expect(error).toBeInstanceOf(Error);
  });

  test('takes errno of either sign', () => {
    expect(new SyscallError('open', 2).errno).toBe(-2);
    expect(new SyscallError('open', -2).errno).toBe(-2);
  });

  test('says what was being done, where, and what to do', () => {
    const error = new SyscallError('fsconfig', 40, {
      doing: 'mount overlay on /',
      step: { number: 7, of: 41, op: 'mountOverlay' },
    });
    expect(error.message).toMatch(
      /^mount overlay on \/: ELOOP .* \(step 7 of 41, mountOverlay: fsconfig\)\. Layers overlap/,
    );
    expect(error.hint).toMatch(/^Layers overlap/);
  });

  test.each([
    ['clone3', 'ENOSPC', 28, /user\.max_/],
    ['clone', 'EAGAIN', 11, /pids\.max/],
    ['posix_spawn', 'EAGAIN', 11, /RLIMIT_NPROC/],
    ['socket', 'EMFILE', 24, /ulimit -n/],
    ['socket', 'ENFILE', 23, /fs\.file-max/],
    ['write', 'ENOSPC', 28, /full/],
    ['write', 'EDQUOT', 122, /quota/],
    ['openat', 'EROFS', 30, /read-only/],
    ['unshare', 'EPERM', 1, /--cap-add SYS_ADMIN/],
    ['execve', 'E2BIG', 7, /128 KiB/],
    ['execve', 'ENOEXEC', 8, /another architecture/],
    ['setns', 'EINVAL', 22, /several threads/],
    ['prlimit64', 'EPERM', 1, /CAP_SYS_RESOURCE/],
    ['clone3', 'ENOSYS', 38, /seccomp filter refuses it/],
    ['openat', 'ENAMETOOLONG', 36, /4095/],
  ])('a hint for %s %s', (call, code, errno, hint) => {
    expect(new SyscallError(call, errno)).toMatchObject({ code, hint: expect.stringMatching(hint) });
  });

  test.each(['ENOENT', 'EEXIST', 'ENOTDIR', 'ELOOP', 'EACCES'] as const)(
    '%s of a path has a hint, of anything else none',
    (code) => {
      expect(new SyscallError('openat', ERRNO[code], { path: '/x' }).hint).toEqual(expect.any(String));
      expect(new SyscallError('openat', ERRNO[code]).hint).toBeUndefined();
    },
  );

  test('a hint of one step is not given for another', () => {
    expect(new SyscallError('fsconfig', 40, { step: { number: 1, of: 1, op: 'mount' } }).hint).toBeUndefined();
    expect(new SyscallError('close', 9).hint).toBeUndefined();
    expect(new SyscallError('close', 9, { hint: 'ours' }).message).toMatch(/\. ours$/);
  });

  test('keeps its cause', () => {
    const cause = new Error('first');
    expect(new SyscallError('read', 5, { cause }).cause).toBe(cause);
    expect('cause' in new SyscallError('read', 5)).toBe(false);
  });
});

test('check returns results and throws negated errnos', () => {
  expect(check('read', 0)).toBe(0);
  expect(check('read', 42)).toBe(42);
  expect(thrown(() => check('read', -4, { path: '/x' }))).toMatchObject({ code: 'EINTR', path: '/x' });
});

test.each<[unknown, string]>([
  ['text', '"text"'],
  ['x'.repeat(100), `"${'x'.repeat(77)}..."`],
  [12n, '12n'],
  [undefined, 'undefined'],
  [null, 'null'],
  [[1, 2], 'an array of 2'],
  [{ a: 1, b: 2 }, 'an object with keys a, b'],
  [{}, 'an object with keys (none)'],
  [() => 1, 'a function'],
  [Number.NaN, 'NaN'],
])('SpecError describes %p without printing all of it', (received, text) => {
  const error = new SpecError('limits.memory', 'a size', received);
  expect(error.message).toBe(`limits.memory: expected a size, received ${text}`);
  expect(error).toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: 'limits.memory', expected: 'a size', received });
});

test('SpecError always has a hint, which the message repeats only when it says more', () => {
  const plain = new SpecError('size', 'a number', 'x');
  expect(plain).toMatchObject({ hint: 'Set size to a number', message: 'size: expected a number, received "x"' });
  const told = new SpecError('a.size', 'a number', 'x', 'Did you mean sizes?');
  expect(told).toMatchObject({
    hint: 'Did you mean sizes?',
    message: expect.stringMatching(/\. Did you mean sizes\?$/),
  });
  expect(plain.at('b.size')).toMatchObject({ field: 'b.size', hint: 'Set b.size to a number', received: 'x' });
  expect(told.at('b.size')).toMatchObject({ field: 'b.size', hint: 'Did you mean sizes?' });
});

test('UnavailableError says why and what to do', () => {
  expect(new UnavailableError('cgroup controller io', 'it is not enabled', 'Enable it')).toMatchObject({
    code: 'ERR_NS_UNAVAILABLE',
    feature: 'cgroup controller io',
    message: 'cgroup controller io is not available here: it is not enabled. Enable it',
    hint: 'Enable it',
  });
});

test('hasCode asks an error of Node or of this library, and anything else that was thrown', () => {
  expect(hasCode(new SyscallError('open', 2), 'ENOENT')).toBe(true);
  expect(hasCode(Object.assign(new Error(), { code: 'EEXIST' }), 'ENOTEMPTY', 'EEXIST')).toBe(true);
  expect(hasCode(new SyscallError('open', 2), 'ENOTDIR')).toBe(false);
  for (const thrown of [undefined, null, 'ENOENT', new Error()]) expect(hasCode(thrown, 'ENOENT', '')).toBe(false);
});
