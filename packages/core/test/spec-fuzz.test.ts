import { SpecError } from '@ns/libc';
import { validateExec, validateRun, validateSpec } from '../src/validate-spec.ts';

/* Whatever stands in a field, it is taken, or refused by name; never a TypeError from somewhere inside. */

/** With a slash: a key of an object. */
const paths = `
  env cwd user groups hostname domainname umask stdin
  tty init name labels rootfs writable namespaces idMap
  limits rlimits ulimits sysctls oomScoreAdj shmSize devices capabilities
  noNewPrivileges privileged seccomp onSyscall apparmor selinux landlock maskedPaths
  readonlyPaths mounts network ports dns extraHosts egress bandwidth
  timeout maxOutput lifetime restart health stopSignal wait pressure
  rootfs/host rootfs/dir rootfs/layers rootfs/hide rootfs/show rootfs/readonly rootfs/writable writable/tmpfs
  writable/upper writable/work writable/dir writable/size writable/inodes log log/maxSize log/maxFiles log/format log/directory namespaces/pid namespaces/net namespaces/mount namespaces/uts
  namespaces/ipc namespaces/user namespaces/cgroup namespaces/time limits/memory limits/memorySwap limits/memoryReservation limits/memoryHigh
  limits/memorySwappiness limits/cpus limits/cpuShares limits/cpuQuotaUs limits/cpuPeriodUs limits/cpusetCpus limits/cpusetMems limits/pids
  limits/io limits/blkioWeight limits/hugepages limits/unified health/command health/interval health/timeout health/retries
  health/startPeriod health/startInterval selinux/process selinux/mount landlock/files landlock/network landlock/scopes landlock/logging
  landlock/enforce maxOutput/bytes maxOutput/onExceed lifetime/dieWithParent capabilities/add capabilities/drop network/network network/ip
  network/ip6 network/mac network/aliases network/container network/path rlimits/nofile idMap/uids idMap/gids
  env/A labels/a sysctls/kernel.shmmax egress/default egress/allow bandwidth/ingress bandwidth/egress
`
  .trim()
  .split(/\s+/);

const values: readonly unknown[] = [
  null,
  ...[0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 10n, true],
  ...['', 'a\0b', 'nonsense', 'a'.repeat(5000)],
  ...[[], [null], [{}], [1], ['x']],
  ...[{ nonsense: 1 }, Object.create(null), new Date(0), new Map([['A', 'b']]), Buffer.from('x')],
  ...[() => 1, Symbol('s')],
];

test.each(paths)('%s: any value is taken or refused by name', (path) => {
  const [outer, inner] = path.split('/') as [string, string?];
  for (const value of values) {
    const given = { [outer]: inner === undefined ? value : { [inner]: value } };
    const error = errorOf(() => validateSpec({ command: ['true'], ...given }));
    if (error === undefined) continue;
    expect(error).toBeInstanceOf(SpecError);
    const { field, expected } = error as SpecError;
    expect(field).toMatch(new RegExp(`^${outer}($|[.[])`));
    // In our words, not in the validator's.
    expect(expected).not.toMatch(/^$|Expected|Invalid|undefined|\[object/);
    expect(error).toHaveProperty('received');
  }
});

test.each([
  ['an array', ['A=b']],
  ['a Map', new Map([['memory', '1g']])],
  ['a Date', new Date(0)],
])('%s is no object of options: nothing of it would be read', (_, value) => {
  for (const name of ['env', 'labels', 'limits', 'namespaces', 'lifetime', 'sysctls', 'rlimits', 'selinux', 'egress'])
    expect(errorOf(() => validateSpec({ command: ['true'], [name]: value }))).toMatchObject({
      code: 'ERR_NS_INVALID_SPEC',
      field: name,
    });
});

test.each([
  ['limits.memory', { limits: { memory: '12 apples' } }],
  ['limits.memoryReservation', { limits: { memoryReservation: -1 } }],
  ['limits.cpus', { limits: { cpus: 'two' } }],
  ['limits.cpus', { limits: { cpus: { quotaUs: 1 } } }],
  ['limits.cpuQuotaUs', { limits: { cpuQuotaUs: 5 } }],
  ['limits.cpuPeriodUs', { limits: { cpuPeriodUs: 5 } }],
  ['limits.cpusetCpus', { limits: { cpusetCpus: '3-1' } }],
  ['limits.pids', { limits: { pids: 'many' } }],
  ['limits.io[0].readBps', { limits: { io: [{ device: '8:0', readBps: 0 }] } }],
  ['limits.hugepages.2MB', { limits: { hugepages: { '2MB': 'x' } } }],
  ['limits.memroy', { limits: { memroy: 1 } }],
  ['shmSize', { shmSize: 'max' }],
  ['writable.tmpfs', { writable: { tmpfs: Number.POSITIVE_INFINITY } }],
  ['maxOutput.bytes', { maxOutput: { bytes: 'x' } }],
  ['seccomp', { seccomp: null }],
  ['health.command', { health: { interval: 10 } }],
  ['hostname', { hostname: 'a\n10.0.0.1 example.org' }],
  ['onSyscall.mkdirr', { onSyscall: { mkdirr: () => undefined } }],
  ['landlock.enforce', { landlock: { files: {}, enforce: 'strictly' } }],
  ['pressure[0].resource', { pressure: [{ resource: 'disk', stallMs: 1, windowMs: 2 }] }],
])('%s is named as the caller wrote it', (field, spec) => {
  expect(errorOf(() => validateSpec({ command: ['true'], ...spec }))).toMatchObject({ field });
});

test('the same of run and exec', () => {
  expect(errorOf(() => validateRun({ command: ['true'], signal: {} }))).toMatchObject({ field: 'signal' });
  expect(errorOf(() => validateExec(['true'], { env: ['A=b'] }))).toMatchObject({ field: 'env' });
});

test('output may be unlimited, and limited by its default alone', () => {
  expect(validateSpec({ command: ['true'], maxOutput: { bytes: 'max' } })).toBeDefined();
  expect(validateSpec({ command: ['true'], maxOutput: { onExceed: 'kill' } })).toBeDefined();
});

function errorOf(check: () => unknown): unknown {
  try {
    check();
    return undefined;
  } catch (error) {
    return error;
  }
}
