import { compile, explain, profiles, type SeccompProfile, withNotify } from '@ns/seccomp';

test('the example of the README', () => {
  // Docker's default profile for a process that keeps one capability: a Buffer of struct sock_filter.
  const filter = compile(profiles.default, { arch: 'x86_64', capabilities: ['CAP_CHOWN'] });
  filter.evaluate({ syscall: 'mount' }); // { action: 'ERRNO', errno: 'EPERM' }: simulated, no kernel is asked
  filter.evaluate({ syscall: 'socket', args: [40n | (1n << 32n)] }); // EPERM as well: AF_VSOCK in disguise

  // Why is it refused, and which rule would allow it?
  const { reason, inactive } = explain(profiles.default, 'mount', { arch: 'x86_64' });
  profiles.default.syscalls?.[inactive[0]!]?.includes?.caps; // ['CAP_SYS_ADMIN']

  // A profile of your own, in the form of the OCI runtime specification; mkdirat is put to a handler.
  const own: SeccompProfile = {
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [{ names: ['read', 'write'], action: 'SCMP_ACT_ALLOW' }],
  };
  const watched = compile(withNotify(own, ['mkdirat']));
  watched.evaluate({ syscall: 'mkdirat' }); // { action: 'NOTIFY' }

  expect(filter.evaluate({ syscall: 'mount' })).toEqual({ action: 'ERRNO', errno: 'EPERM' });
  expect(filter.evaluate({ syscall: 'socket', args: [40n | (1n << 32n)] })).toEqual({
    action: 'ERRNO',
    errno: 'EPERM',
  });
  expect(reason).toBe('default');
  expect(profiles.default.syscalls?.[inactive[0]!]?.includes?.caps).toEqual(['CAP_SYS_ADMIN']);
  expect(watched.evaluate({ syscall: 'mkdirat' })).toEqual({ action: 'NOTIFY' });
});
