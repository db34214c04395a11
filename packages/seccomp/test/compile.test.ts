import { existsSync, readFileSync } from 'node:fs';
import { SYS } from '@ns/libc';
import {
  compile,
  explain,
  parseProfile,
  profiles,
  SeccompNotifier,
  type SeccompProfile,
  syscallNames,
  withNotify,
} from '@ns/seccomp';
import { needs } from '@ns/testing';
import { architectures, type SeccompArch } from '../src/architectures.ts';
import { syscallTable } from '../src/syscall-table.ts';

const deny: SeccompProfile = { defaultAction: 'SCMP_ACT_ERRNO' };
const x86_64 = { arch: 'x86_64', kernelVersion: '6.1' };
const EPERM = { action: 'ERRNO', errno: 'EPERM' };
const ENOSYS = { action: 'ERRNO', errno: 'ENOSYS' };
const ALLOW = { action: 'ALLOW' };

test('the example of the documentation', () => {
  const filter = compile(profiles.default, { arch: 'x86_64', capabilities: ['CAP_CHOWN'] });
  expect(Buffer.isBuffer(filter)).toBe(true);
  expect(filter.length).toBe(filter.instructionCount * 8);
  expect(filter.evaluate({ syscall: 'mount', args: [] })).toEqual(EPERM);
  expect(
    compile(profiles.default, { arch: 'x86_64', capabilities: ['CAP_SYS_ADMIN'] }).evaluate({ syscall: 'mount' }),
  ).toEqual(ALLOW);
});

test.each(Object.keys(architectures) as SeccompArch[])('the presets compile for %s and fit', (arch) => {
  for (const profile of Object.values(profiles)) {
    const filter = compile(profile, { arch });
    expect(filter.instructionCount).toBeLessThan(600);
    expect(filter.evaluate({ syscall: 'read' })).toEqual(ALLOW);
  }
  expect(compile(profiles.default, { arch }).evaluate({ syscall: 'unshare' })).toEqual(EPERM);
});

describe('AF_VSOCK and AF_ALG', () => {
  const socket = (profile: SeccompProfile, family: bigint, arch?: string) =>
    compile(profile, x86_64).evaluate({ syscall: 'socket', args: [family, 1], ...(arch ? { arch } : {}) });

  test.each([38n, 40n, 38n | (1n << 32n), 40n | (1n << 63n), (-1n << 32n) | 40n])('%d is refused', (family) => {
    expect(socket(profiles.default, family)).toEqual(EPERM);
    expect(socket(profiles.strict, family)).toEqual(EPERM);
  });

  test('no program of i386 gets past the strict profile by the door that has all calls of sockets', () => {
    const filter = compile(profiles.strict, { arch: 'x86_64', capabilities: [] });
    for (let call = 1; call <= 20; call++)
      expect(filter.evaluate({ syscall: 'socketcall', arch: 'x86', args: [call, 0] })).toEqual({
        action: 'ERRNO',
        errno: 'ENOSYS',
      });
  });

  test.each([1n, 2n, 10n, 16n, 39n, 41n, 255n, (1n << 32n) | 2n])('%d is allowed', (family) => {
    expect(socket(profiles.default, family)).toEqual(ALLOW);
  });

  test("Docker's own profile lets them pass by bits above an int", () => {
    expect(socket(profiles.docker, 40n)).toEqual(EPERM);
    expect(socket(profiles.docker, 40n | (1n << 32n))).toEqual(ALLOW);
  });
});

describe('architectures', () => {
  const filter = compile({ ...deny, syscalls: [{ names: ['getpid'], action: 'SCMP_ACT_ALLOW' }] }, x86_64);

  test('what a profile does not name kills the process', () => {
    for (const arch of ['x86', 'x32', 'aarch64', 's390x'])
      expect(filter.evaluate({ syscall: 'getpid', arch })).toEqual({ action: 'KILL_PROCESS' });
  });

  test('a call struck out by a tracer gets the default action', () => {
    expect(filter.evaluate({ syscall: 0xffffffff })).toEqual(EPERM);
  });

  test('archMap adds the ABIs of the machine only', () => {
    const mapped: SeccompProfile = {
      ...deny,
      archMap: [
        { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
        { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
      ],
      syscalls: [{ names: ['getpid'], action: 'SCMP_ACT_ALLOW' }],
    };
    expect(compile(mapped, x86_64).architectures).toEqual(['x86_64', 'x86']);
    expect(compile(mapped, { arch: 'arm64' }).architectures).toEqual(['aarch64', 'arm']);
    expect(compile(mapped, { arch: 'riscv64' }).architectures).toEqual(['riscv64']);
    expect(compile(mapped, x86_64).evaluate({ syscall: 'getpid', arch: 'x86' })).toEqual(ALLOW);
    expect(compile(mapped, x86_64).evaluate({ syscall: 'getpid', arch: 'x32' })).toEqual({ action: 'KILL_PROCESS' });
  });

  test('numbers differ between ABIs of one filter', () => {
    const both = compile(
      {
        ...deny,
        architectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
        syscalls: [{ names: ['openat'], action: 'SCMP_ACT_ALLOW' }],
      },
      x86_64,
    );
    expect(both.evaluate({ syscall: 257 })).toEqual(ALLOW);
    expect(both.evaluate({ syscall: 295, arch: 'x86' })).toEqual(ALLOW);
    expect(both.evaluate({ syscall: 257, arch: 'x86' })).toEqual(EPERM);
    expect(both.evaluate({ syscall: 0x40000000 + 257, arch: 'x32' })).toEqual(ALLOW);
  });
});

describe('numbers above the highest one a profile names', () => {
  const rules: SeccompProfile = {
    ...deny,
    syscalls: [
      { names: ['read', 'openat2'], action: 'SCMP_ACT_ALLOW' },
      { names: ['faccessat2'], action: 'SCMP_ACT_ERRNO' },
    ],
  };

  test('get ENOSYS, so that programs fall back', () => {
    const filter = compile(rules, x86_64);
    expect(filter.evaluate({ syscall: 'write' })).toEqual(EPERM);
    expect(filter.evaluate({ syscall: 'pidfd_getfd' })).toEqual(EPERM);
    expect(filter.evaluate({ syscall: 'faccessat2' })).toEqual(EPERM);
    expect(filter.evaluate({ syscall: 'process_madvise' })).toEqual(ENOSYS);
    expect(filter.evaluate({ syscall: 0x3fffffff })).toEqual(ENOSYS);
  });

  test('are like any other when asked, or when the profile allows by default', () => {
    expect(compile(rules, { ...x86_64, newerSyscalls: 'default-action' }).evaluate({ syscall: 900 })).toEqual(EPERM);
    for (const defaultAction of ['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_TRACE'] as const) {
      expect(compile({ ...rules, defaultAction }, x86_64).evaluate({ syscall: 900 })).not.toEqual(ENOSYS);
    }
  });

  test('a multiplexer of a named call is not newer', () => {
    const filter = compile(
      { ...deny, syscalls: [{ names: ['read', 'send', 'semtimedop'], action: 'SCMP_ACT_ALLOW' }] },
      { arch: 'x86' },
    );
    const verdicts = [3, 4, 101, 102, 103, 117, 118].map((syscall) =>
      filter.evaluate({ syscall, args: [syscall === 117 ? 4 : 9] }),
    );
    expect(verdicts).toEqual([ALLOW, EPERM, EPERM, ALLOW, EPERM, ALLOW, ENOSYS]);
  });

  test('s390 shows 0 for what it does not know', () => {
    expect(explain(rules, { syscall: 0 }, { arch: 's390x' })).toMatchObject({
      decision: ENOSYS,
      reason: 'newer-syscall',
    });
    expect(compile(rules, { arch: 's390x' }).evaluate({ syscall: 0 })).toEqual(ENOSYS);
  });
});

describe('which rule counts', () => {
  const call = (rules: SeccompProfile['syscalls'], args: number[] = [], profile = deny) =>
    compile({ ...profile, syscalls: rules! }, x86_64).evaluate({ syscall: 'dup', args });
  const rule = (errnoRet: number, ...values: number[]) => ({
    names: ['dup'],
    action: 'SCMP_ACT_ERRNO' as const,
    errnoRet,
    args: values.map((value, index) => ({ index, op: 'SCMP_CMP_EQ' as const, value })),
  });

  test('the first without conditions, whatever stands around it', () => {
    expect(call([rule(2, 5), rule(3), rule(4), rule(6, 5)], [5])).toEqual({ action: 'ERRNO', errno: 'ESRCH' });
  });

  test('one with the default action takes nothing away', () => {
    expect(call([rule(1), { names: ['dup'], action: 'SCMP_ACT_ALLOW' }])).toEqual(ALLOW);
  });

  test('all conditions of a rule must hold', () => {
    expect(call([rule(2, 5, 6)], [5, 6])).toEqual({ action: 'ERRNO', errno: 'ENOENT' });
    expect(call([rule(2, 5, 6)], [5, 7])).toEqual(EPERM);
  });

  test('conditions on one argument are alternatives', () => {
    const args = [1, 2].map((value) => ({ index: 0, op: 'SCMP_CMP_EQ' as const, value }));
    for (const value of [1, 2])
      expect(call([{ ...rule(2), args }], [value])).toEqual({ action: 'ERRNO', errno: 'ENOENT' });
    expect(call([{ ...rule(2), args }], [3])).toEqual(EPERM);
  });

  test('includes and excludes', () => {
    const conditional: SeccompProfile = {
      ...deny,
      syscalls: [
        {
          names: ['dup'],
          action: 'SCMP_ACT_ALLOW',
          includes: { caps: ['CAP_CHOWN', 'CAP_KILL'], minKernel: '4.8' },
          excludes: { caps: ['CAP_SYS_ADMIN'], arches: ['arm64'] },
        },
      ],
    };
    const verdict = (capabilities: string[], arch = 'amd64', kernelVersion = '6.1.0-generic') =>
      compile(conditional, { arch, capabilities, kernelVersion }).evaluate({ syscall: 'dup' });
    expect(verdict(['CAP_CHOWN', 'CAP_KILL'])).toEqual(ALLOW);
    expect(verdict(['CAP_CHOWN'])).toEqual(EPERM);
    expect(verdict(['CAP_CHOWN', 'CAP_KILL', 'CAP_SYS_ADMIN'])).toEqual(EPERM);
    expect(verdict(['CAP_CHOWN', 'CAP_KILL'], 'aarch64')).toEqual(EPERM);
    expect(verdict(['CAP_CHOWN', 'CAP_KILL'], 'amd64', '4.7.9')).toEqual(EPERM);
    expect(verdict(['CAP_CHOWN', 'CAP_KILL'], 'amd64', '4.10')).toEqual(ALLOW);
  });

  test.each([
    // Docker's profiles of 2018 have three numbers.
    ['4.8.0', '4.8', true],
    ['4.8.1', '4.8', false],
    ['4.8.1', '4.8.1-rc1', true],
    ['4.8.2', '4.8.10', true],
    ['4.8.9', '5.0', true],
    ['4.8', '4.7.99', false],
    ['5.0', '4.20.17', false],
  ])('minKernel %s on %s: %s', (minKernel, kernelVersion, holds) => {
    const rule = { names: ['dup'], action: 'SCMP_ACT_ALLOW', includes: { minKernel } } as const;
    const filter = compile({ ...deny, syscalls: [rule] }, { arch: 'x86_64', kernelVersion });
    expect(filter.evaluate({ syscall: 'dup' })).toEqual(holds ? ALLOW : EPERM);
  });
});

test('a program with far jumps keeps every verdict', () => {
  // Hundreds of argument tests in one program: no target is within the 8 bits of a jump.
  const names = syscallNames('x86_64').slice(0, 320);
  const syscalls = names.map((name, position) => ({
    names: [name],
    action: 'SCMP_ACT_ERRNO' as const,
    errnoRet: 1 + (position % 130),
    args: [0, 1].map((index) => ({ index, op: 'SCMP_CMP_EQ' as const, value: (position + 1) * 1e6 })),
  }));
  const filter = compile({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }, x86_64);
  expect(filter.instructionCount).toBeGreaterThan(2500);
  for (const [position, name] of names.entries()) {
    const value = (position + 1) * 1e6;
    expect(filter.evaluate({ syscall: name, args: [value, value + 1] })).toEqual(ALLOW);
    expect(filter.evaluate({ syscall: name, args: [value, value] })).toMatchObject({ action: 'ERRNO' });
  }
});

test('what the kernel would refuse as too long is refused here', () => {
  const args = (value: number) =>
    [0, 1, 2].map((index) => ({ index, op: 'SCMP_CMP_EQ' as const, value: value * 1e5 + index }));
  const syscalls = Array.from({ length: 1000 }, (_, value) => ({
    names: ['dup'],
    action: 'SCMP_ACT_ALLOW' as const,
    args: args(value),
  }));
  expect(() => compile({ ...deny, syscalls }, x86_64)).toThrow(/4096 BPF instructions/);
});

test('unknown names are left out and told', () => {
  const filter = compile(
    { ...deny, syscalls: [{ names: ['read', 'raed', 'socketcall', '__proto__'], action: 'SCMP_ACT_ALLOW' }] },
    x86_64,
  );
  expect(filter.warnings).toHaveLength(3);
  expect(filter.warnings[0]).toContain('"raed"');
  expect(filter.evaluate({ syscall: 'read' })).toEqual(ALLOW);
});

describe('explain', () => {
  test('names the rule, and those that would have counted', () => {
    const denied = explain(profiles.default, 'mount', x86_64);
    expect(denied).toMatchObject({ decision: EPERM, reason: 'default', passedOver: [] });
    expect(profiles.default.syscalls![denied.inactive[0]!]!.includes!.caps).toEqual(['CAP_SYS_ADMIN']);
    expect(explain(profiles.default, 'mount', { ...x86_64, capabilities: ['CAP_SYS_ADMIN'] })).toMatchObject({
      decision: ALLOW,
      reason: 'rule',
      index: denied.inactive[0],
    });
    expect(explain(profiles.docker, { syscall: 'socket', args: [40] }, x86_64)).toMatchObject({
      reason: 'default',
      passedOver: [2, 3, 4],
    });
    expect(explain(profiles.docker, { syscall: 'socket', args: [39] }, x86_64)).toMatchObject({
      reason: 'rule',
      index: 3,
      rule: { names: ['socket'] },
    });
    expect(explain(profiles.docker, { syscall: 5000 }, x86_64)).toMatchObject({
      decision: ENOSYS,
      reason: 'newer-syscall',
    });
    expect(explain(profiles.docker, { syscall: 'read', arch: 'arm' }, x86_64)).toMatchObject({
      decision: { action: 'KILL_PROCESS' },
      reason: 'unknown-architecture',
    });
  });
});

describe('numbers', () => {
  test('are those @ns/libc makes calls with', () => {
    const arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
    const { numbers } = syscallTable(arch);
    for (const [name, number] of Object.entries(SYS))
      if (numbers.has(name)) expect([name, numbers.get(name)]).toEqual([name, number]);
  });

  const headers = '/usr/include/x86_64-linux-gnu/asm';
  const header = needs(existsSync(headers) ? undefined : "the kernel's headers (linux-libc-dev) are not installed");
  header("are those of the kernel's headers", () => {
    for (const [file, arch] of [
      ['unistd_64.h', 'x86_64'],
      ['unistd_32.h', 'x86'],
      ['unistd_x32.h', 'x32'],
    ] as const) {
      const defined = readFileSync(`${headers}/${file}`, 'utf8').matchAll(
        /^#define __NR_(\w+) (?:\(__X32_SYSCALL_BIT \+ )?(\d+)\)?$/gm,
      );
      const { numbers } = syscallTable(arch);
      const offset = arch === 'x32' ? 0x40000000 : 0;
      const differing = [...defined].filter(([, name, number]) => numbers.get(name!) !== Number(number) + offset);
      expect(differing.map(([, name]) => name)).toEqual([]);
    }
  });
});

describe('what is not a profile', () => {
  const rule = { names: ['read'], action: 'SCMP_ACT_ALLOW' };
  const arg = { index: 0, value: 1, op: 'SCMP_CMP_EQ' };
  const withArg = (change: object) => ({ ...deny, syscalls: [{ ...rule, args: [{ ...arg, ...change }] }] });
  test.each<[unknown, string]>([
    [null, 'seccomp'],
    [[], 'seccomp'],
    ['{}', 'seccomp'],
    [{}, 'seccomp.defaultAction'],
    [{ defaultAction: 'ALLOW' }, 'seccomp.defaultAction'],
    [{ defaultAction: '__proto__' }, 'seccomp.defaultAction'],
    [{ defaultAction: 'SCMP_ACT_NOTIFY' }, 'seccomp.defaultAction'],
    [{ ...deny, defaultErrnoRet: 4096 }, 'seccomp.defaultErrnoRet'],
    [{ ...deny, defaultErrnoRet: -1 }, 'seccomp.defaultErrnoRet'],
    [{ ...deny, defaultErrnoRet: '1' }, 'seccomp.defaultErrnoRet'],
    [{ ...deny, defaultErrno: 'EWHATEVER' }, 'seccomp.defaultErrno'],
    [{ ...deny, architectures: ['SCMP_ARCH_PDP11'] }, 'seccomp.architectures[0]'],
    [{ ...deny, architectures: 'SCMP_ARCH_X86' }, 'seccomp.architectures'],
    [{ ...deny, architectures: ['SCMP_ARCH_S390X'] }, 'seccomp.architectures'],
    [{ ...deny, architectures: ['SCMP_ARCH_X86'], archMap: [{ architecture: 'SCMP_ARCH_X86_64' }] }, 'seccomp.archMap'],
    [{ ...deny, archMap: [{}] }, 'seccomp.archMap[0].architecture'],
    [{ ...deny, flags: ['SECCOMP_FILTER_FLAG_NEW_LISTENER'] }, 'seccomp.flags[0]'],
    [{ ...deny, syscalls: {} }, 'seccomp.syscalls'],
    [{ ...deny, syscalls: [null] }, 'seccomp.syscalls[0]'],
    [{ ...deny, syscalls: [{ names: [], action: 'SCMP_ACT_ALLOW' }] }, 'seccomp.syscalls[0].names'],
    [{ ...deny, syscalls: [{ names: [7], action: 'SCMP_ACT_ALLOW' }] }, 'seccomp.syscalls[0].names[0]'],
    [{ ...deny, syscalls: [{ names: ['read'] }] }, 'seccomp.syscalls[0].action'],
    [{ ...deny, syscalls: [{ ...rule, args: [null] }] }, 'seccomp.syscalls[0].args[0]'],
    [withArg({ index: 6 }), 'seccomp.syscalls[0].args[0].index'],
    [withArg({ index: '0' }), 'seccomp.syscalls[0].args[0].index'],
    [withArg({ op: 'SCMP_CMP_ALMOST' }), 'seccomp.syscalls[0].args[0].op'],
    [withArg({ value: -1 }), 'seccomp.syscalls[0].args[0].value'],
    [withArg({ value: 1.5 }), 'seccomp.syscalls[0].args[0].value'],
    [withArg({ value: 2 ** 60 }), 'seccomp.syscalls[0].args[0].value'],
    [withArg({ value: '18446744073709551616' }), 'seccomp.syscalls[0].args[0].value'],
    [withArg({ value: undefined }), 'seccomp.syscalls[0].args[0].value'],
    [{ ...deny, syscalls: [{ ...rule, includes: { minKernel: 'new' } }] }, 'seccomp.syscalls[0].includes.minKernel'],
    [{ ...deny, syscalls: [{ ...rule, excludes: { caps: [1] } }] }, 'seccomp.syscalls[0].excludes.caps[0]'],
  ])('%j: %s', (profile, field) => {
    expect(() => compile(profile as SeccompProfile, x86_64)).toThrow(
      expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field }),
    );
  });

  test('options are checked too', () => {
    expect(() => compile(deny, { arch: 'vax' })).toThrow(expect.objectContaining({ field: 'arch' }));
    expect(() => compile(deny, { capabilities: ['chown'] })).toThrow(
      expect.objectContaining({ field: 'capabilities' }),
    );
    expect(() => compile(deny, { kernelVersion: 'latest' })).toThrow(
      expect.objectContaining({ field: 'kernelVersion' }),
    );
    expect(() => compile(deny).evaluate({ syscall: 'read', args: [0, 1.5] })).toThrow(
      expect.objectContaining({ field: 'call.args[1]' }),
    );
    expect(() => compile(deny).evaluate({ syscall: 'raed' })).toThrow(
      expect.objectContaining({ field: 'call.syscall' }),
    );
  });

  test('what was likely meant is said', () => {
    const hintOf = (profile: unknown) => {
      try {
        compile(profile as SeccompProfile, x86_64);
      } catch (error) {
        return (error as { hint?: string }).hint;
      }
      return 'taken';
    };
    expect(hintOf({ defaultAction: 'ALLOW' })).toBe('Did you mean SCMP_ACT_ALLOW?');
    expect(hintOf({ ...deny, syscalls: [{ ...rule, action: 'scmp_act_erno' }] })).toBe('Did you mean SCMP_ACT_ERRNO?');
    expect(hintOf(withArg({ op: 'MASKEDEQ' }))).toBe('Did you mean SCMP_CMP_MASKED_EQ?');
    expect(hintOf({ ...deny, architectures: ['x86-64'] })).toBe('Did you mean x86_64?');
    // Without the key the profile would mean less than it says.
    expect(hintOf({ defaultAction: 'SCMP_ACT_ALLOW', syscals: [rule] })).toBe('Did you mean syscalls?');
    expect(hintOf({ ...deny, syscalls: [{ ...rule, arg: [] }] })).toBe('Did you mean args?');
    expect(hintOf({ ...deny, syscalls: [{ ...rule, Excludes: {} }] })).toBe('Did you mean excludes?');
    for (const own of [{ $schema: 's' }, { comment: 'c' }, { note: 'n' }, { description: 't' }, { 'x-owner': 'o' }])
      expect(() => compile({ ...deny, ...own, syscalls: [{ ...rule, ...own }] } as never)).not.toThrow();
    expect(hintOf('{}')).toContain('parseProfile');
    expect(hintOf({ defaultAction: 'whatever else' })).toMatch(/^Set seccomp.defaultAction to one of SCMP_ACT_KILL, /);
  });

  test.each<[string, () => unknown, string]>([
    ['no options', () => compile(deny, null as never), 'options'],
    ['capabilities as text', () => compile(deny, { capabilities: 'CAP_CHOWN' }), 'capabilities'],
    ['a number of capabilities', () => compile(deny, { capabilities: 5 as never }), 'capabilities'],
    ['another rule', () => compile(deny, { newerSyscalls: 'allow' as never }), 'newerSyscalls'],
    ['no text', () => parseProfile(deny as never), 'seccomp'],
    ['no call', () => compile(deny).evaluate(undefined as never), 'call'],
    ['no list of arguments', () => compile(deny).evaluate({ syscall: 'read', args: 1 as never }), 'call.args'],
    ['nothing to explain', () => explain(deny, null as never), 'call'],
    ['a name alone', () => withNotify(deny, 'mkdirat' as never), 'names'],
    ['no profile', () => withNotify(null as never, ['mkdirat']), 'seccomp'],
    ['no listener', () => SeccompNotifier.listen(null as never, {}), 'listener'],
    ['a closed listener', () => SeccompNotifier.listen(-1, {}), 'listener'],
    ['names of nothing', () => syscallNames('vax' as never), 'arch'],
  ])('%s', (_, attempt, field) => {
    expect(attempt).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field }));
  });

  test('a hostile size costs no time', () => {
    const names = Array.from({ length: 70_000 }, () => 'read');
    expect(() => compile({ ...deny, syscalls: [{ names, action: 'SCMP_ACT_ALLOW' }] })).toThrow(/at most/);
  });
});

test('an errno may be named, as in Podman', () => {
  const named: SeccompProfile = {
    ...deny,
    defaultErrnoRet: 1,
    defaultErrno: 'ENOSYS',
    syscalls: [{ names: ['dup'], action: 'SCMP_ACT_ERRNO', errno: 'EIO' }],
  };
  expect(compile(named, x86_64).evaluate({ syscall: 'read' })).toEqual(ENOSYS);
  expect(compile(named, x86_64).evaluate({ syscall: 'dup' })).toEqual({ action: 'ERRNO', errno: 'EIO' });
});

describe('parseProfile', () => {
  test('keeps all 64 bits, and strings as they are', () => {
    const text = `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["dup"],"comment":"12345678901234567890 \\" 99999999999999999","action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}`;
    const profile = parseProfile(text);
    expect(profile.syscalls![0]!.comment).toBe('12345678901234567890 " 99999999999999999');
    const filter = compile(profile, x86_64);
    expect(filter.evaluate({ syscall: 'dup', args: [-1n] })).toEqual(EPERM);
    expect(filter.evaluate({ syscall: 'dup', args: [-2n] })).toEqual(ALLOW);
  });

  test('refuses what is not JSON', () => {
    expect(() => parseProfile('{')).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC' }));
    expect(() => parseProfile(' '.repeat(5 << 20))).toThrow(/at most/);
  });
});
