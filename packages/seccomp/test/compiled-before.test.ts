import { compile, profiles } from '@ns/seccomp';
import { compileAnew } from '../src/compile.ts';
import { compiledBefore } from '../src/compiled-before.ts';

// Docker's; the package that knows them is above this one.
const capabilities =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'
    .split(' ')
    .map((name) => `CAP_${name}`);

const facts = ({ arch, architectures, flags, notifies, warnings, instructionCount }: ReturnType<typeof compile>) => ({
  ...{ arch, architectures, flags, notifies, warnings, instructionCount },
});

test.each(['x86_64', 'aarch64'])('what comes compiled is what the compiler makes (%s)', (arch) => {
  for (const kernelVersion of ['5.0', '6.18', '7.1']) {
    const ready = compiledBefore(profiles.default, { arch, capabilities, kernelVersion })!;
    const made = compileAnew(profiles.default, { arch, capabilities, kernelVersion });
    expect(ready.equals(made)).toBe(true);
    expect(facts(ready)).toEqual(facts(made));
    expect(ready.evaluate({ syscall: 'mount' })).toEqual(made.evaluate({ syscall: 'mount' }));
  }
});

test('nothing else takes it', () => {
  const x86_64 = { arch: 'x86_64', capabilities, kernelVersion: '6.1' };
  expect(compiledBefore(profiles.default, x86_64)).toBeDefined();
  expect(compiledBefore(profiles.docker, x86_64)).toBeUndefined();
  expect(compiledBefore({ ...profiles.default }, x86_64)).toBeUndefined();
  for (const change of [
    { capabilities: [] },
    { capabilities: [...capabilities, 'CAP_SYS_ADMIN'] },
    { arch: 'riscv64' },
    { kernelVersion: '4.4' },
    { newerSyscalls: 'default-action' as const },
  ]) {
    expect(compiledBefore(profiles.default, { ...x86_64, ...change })).toBeUndefined();
  }
  expect(compile(profiles.default, { ...x86_64, capabilities: new Set(capabilities) })).toEqual(
    compile(profiles.default, x86_64),
  );
});

test('options are checked all the same', () => {
  const wrong = { arch: 'x86_64', capabilities: ['chown'], kernelVersion: '6.1' };
  expect(() => compile(profiles.default, wrong)).toThrow(expect.objectContaining({ field: 'capabilities' }));
});

test('the profile cannot be changed behind its filter', () => {
  expect(() => (profiles.default.syscalls as unknown[]).push({})).toThrow(TypeError);
  expect(() => Object.assign(profiles.default.syscalls![0]!, { action: 'SCMP_ACT_KILL' })).toThrow(TypeError);
});
