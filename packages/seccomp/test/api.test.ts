import { compile, profiles } from '@ns/seccomp';

test('the calls that programs are written against', () => {
  const filter = compile(profiles.default, { arch: 'x86_64', capabilities: ['CAP_CHOWN'] }); // Buffer of sock_filter
  expect(filter).toBeInstanceOf(Buffer);
  expect(filter.length % 8).toBe(0);
  expect(filter.evaluate({ syscall: 'mount', args: [] })).toEqual({ action: 'ERRNO', errno: 'EPERM' });
});
