import { SpecError } from '@ns/libc';
import { validatePooled, validatePoolOptions } from '../src/validate-pool.ts';
import { validateExec, validateRun, validateSpec } from '../src/validate-spec.ts';
import { Wait } from '../src/wait/wait.ts';

const command = ['true'];
const inA = (target: string) => ({ type: 'tmpfs', target });

function errorOf(check: () => unknown): SpecError {
  try {
    check();
  } catch (error) {
    if (error instanceof SpecError) return error;
    throw error;
  }
  throw new Error('nothing was wrong with it');
}

/** Options with a key that is none. */
const misspelt: object = { prot: 80 };
const nested = 'wait.conditions[1].conditions[0]';

describe('an unknown key is an error that names the nearest one', () => {
  test.each<[spec: object, field: string, nearest: string]>([
    [{ hostnam: 'x' }, 'hostnam', 'hostname'],
    [{ Command: ['x'] }, 'Command', 'command'],
    [{ memory: '1g' }, 'memory', 'limits.memory'],
    [{ memroy: '1g' }, 'memroy', 'limits.memory'],
    [{ monotonicNs: 1 }, 'monotonicNs', ''],
    [{ namespaces: { mnt: 'private' } }, 'namespaces.mnt', 'mount'],
    [{ lifetime: { dieWithparent: true } }, 'lifetime.dieWithparent', 'dieWithParent'],
    [{ rootfs: { dirr: '/' } }, 'rootfs.dirr', 'dir'],
    [{ rootfs: { dir: '/', readOnly: true } }, 'rootfs.readOnly', 'readonly'],
    [{ rootfs: { host: true, hidden: [] } }, 'rootfs.hidden', 'hide'],
    [{ mounts: [{ source: '/a', target: '/b', readOnly: true }] }, 'mounts[0].readOnly', 'readonly'],
    [{ mounts: [{ type: 'tmpfs', target: '/b', sise: 1 }] }, 'mounts[0].sise', 'size'],
    [{ maxOutput: { byte: 1 } }, 'maxOutput.byte', 'bytes'],
    [{ rlimits: { nofle: 1 } }, 'rlimits.nofle', 'nofile'],
    [{ idMap: { uids: [{ container: 0, hosts: 1, size: 1 }], gids: [] } }, 'idMap.uids[0].hosts', 'host'],
    [{ network: { contaner: 'x' } }, 'network.contaner', 'container'],
    [{ wait: { kind: 'log', pattern: 'x', tiems: 2 } }, 'wait.tiems', 'times'],
    [{ wait: { kind: 'all', conditions: [Wait.port(80)], timout: 2 } }, 'wait.timout', 'timeout'],
    [{ wait: Wait.any([Wait.port(80), Wait.all([Wait.http('/', misspelt)])]) }, `${nested}.prot`, 'port'],
    // Keys of conditions are not meant elsewhere.
    [{ port: '80:80' }, 'port', 'ports'],
  ])('%j', (spec, field, nearest) => {
    const error = errorOf(() => validateSpec({ command, ...spec }));
    expect(error).toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field, expected: 'a known option' });
    expect(error.hint).toContain(nearest && `'${nearest}'`);
  });

  test.each<[mount: object, key: string, known: string]>([
    [{ type: 'tmpfs', target: '/x', source: '/y' }, 'source', 'mode, options, readonly, size, target, type'],
    [
      { source: '/y', target: '/x', content: '' },
      'content',
      'options, owner, propagation, readonly, recursive, source, target, type',
    ],
  ])('a key of another kind of mount: %j', (mount, key, known) => {
    const error = errorOf(() => validateSpec({ command, mounts: [mount] }));
    expect(error).toMatchObject({ field: `mounts[0].${key}`, hint: `Known here: ${known}` });
  });

  test.each<[spec: object, field: string, other: string]>([
    [{ rootfs: { dir: '/usr', layers: ['/usr'] } }, 'rootfs.layers', 'dir'],
    [{ rootfs: { host: true, readonly: true } }, 'rootfs.readonly', 'host'],
    [{ writable: { tmpfs: '1m', dir: '/srv/x' } }, 'writable.dir', 'tmpfs'],
  ])('a key of another way to say it: %j', (spec, field, other) => {
    expect(errorOf(() => validateSpec({ command, ...spec }))).toMatchObject({
      field,
      hint: `Not together with '${other}'`,
    });
  });

  test('also of exec, of a pooled command, of a pool', () => {
    expect(errorOf(() => validateExec(command, { hostname: 'x' })).field).toBe('hostname');
    expect(errorOf(() => validateExec(command, { timeOut: 1 })).hint).toContain("'timeout'");
    expect(errorOf(() => validatePooled(command, { user: '0' })).field).toBe('user');
    expect(errorOf(() => validatePoolOptions({ sise: 1 })).hint).toContain("'size'");
  });
});

test('an image is told what to give instead', () => {
  expect(() => validateSpec({ command, rootfs: { image: 'debian:12' } })).toThrow(
    expect.objectContaining({ code: 'ERR_NS_UNAVAILABLE', hint: expect.stringContaining('applyLayer()') }),
  );
});

describe('a wrong value is an error that says what would be right', () => {
  test.each<[spec: object, field: string, expected: RegExp]>([
    [{ command: [] }, 'command', /program name/],
    [{ command: [''] }, 'command', /program name/],
    [{ command: 'true' }, 'command', /array of strings/],
    [{ command: ['echo', 1] }, 'command[1]', /string/],
    [{ command: ['echo', 'a\0b'] }, 'command[1]', /NUL/],
    [{ command: ['a\0b'] }, 'command[0]', /NUL/],
    [{ env: { A: 1 } }, 'env.A', /string/],
    [{ env: { A: 'a\0b' } }, 'env.A', /NUL/],
    [{ env: { 'A\0B': 'a' } }, 'env.A\0B', /NUL/],
    [{ env: { 'A=B': 'a' } }, 'env.A=B', /without =/],
    [{ env: { '': 'a' } }, 'env.', /variable name/],
    [{ cwd: 'tmp' }, 'cwd', /absolute/],
    [{ cwd: '/tmp/../../..' }, 'cwd', /without '\.\.'/],
    [{ cwd: '/a\0b' }, 'cwd', /NUL/],
    [{ hostname: '' }, 'hostname', /1 to 64 bytes/],
    [{ hostname: 'x'.repeat(65) }, 'hostname', /1 to 64 bytes/],
    [{ hostname: 'é'.repeat(33) }, 'hostname', /1 to 64 bytes/],
    [{ domainname: 'x'.repeat(65) }, 'domainname', /1 to 64 bytes/],
    [{ user: '' }, 'user', /uid/],
    [{ user: 'a:b:c' }, 'user', /uid/],
    [{ user: 0 }, 'user', /user/],
    [{ groups: [-1] }, 'groups[0]', /0 to 4294967294/],
    [{ umask: 0o1000 }, 'umask', /0 to 511/],
    [{ umask: '022' }, 'umask', /integer/],
    [{ timeout: '5s' }, 'timeout', /milliseconds/],
    [{ timeout: 0 }, 'timeout', /milliseconds from 1/],
    [{ timeout: Number.NaN }, 'timeout', /milliseconds/],
    [{ timeout: Number.POSITIVE_INFINITY }, 'timeout', /milliseconds/],
    [{ shmSize: 'big' }, 'shmSize', /size such as/],
    [{ shmSize: -1 }, 'shmSize', /bytes/],
    [{ maxOutput: { bytes: '1 parsec' } }, 'maxOutput.bytes', /size such as/],
    [{ maxOutput: { bytes: 1, onExceed: 'explode' } }, 'maxOutput.onExceed', /'kill'/],
    [{ name: '../../etc' }, 'name', /letters/],
    [{ name: '' }, 'name', /letters/],
    [{ rootfs: 'relative' }, 'rootfs', /absolute/],
    [{ rootfs: { layers: [] } }, 'rootfs.layers', /at least one/],
    [{ rootfs: { dir: '/a/../..' } }, 'rootfs.dir', /without '\.\.'/],
    [{ rootfs: { host: false } }, 'rootfs.host', /./],
    [{ writable: 'yes' }, 'writable', /'tmpfs'/],
    [{ mounts: [{ source: 'relative', target: '/a' }] }, 'mounts[0].source', /absolute/],
    [{ mounts: [{ source: '/etc', target: '/' }] }, 'mounts[0].target', /below \//],
    [{ mounts: [{ source: '/etc', target: '//' }] }, 'mounts[0].target', /below \//],
    [{ mounts: [{ source: '/etc', target: '/proc' }] }, 'mounts[0].target', /outside \/proc/],
    [{ mounts: [{ source: '/etc', target: '/proc/' }] }, 'mounts[0].target', /outside \/proc/],
    [{ mounts: [{ source: '/etc', target: '//proc/./sys' }] }, 'mounts[0].target', /outside \/proc/],
    [{ mounts: [{ source: '/etc', target: '/x/../proc/sys' }] }, 'mounts[0].target', /without '\.\.'/],
    [{ mounts: [{ type: 'tmpfs', target: '/proc/self/attr' }] }, 'mounts[0].target', /outside \/proc/],
    [
      { mounts: [{ type: 'nfs', target: '/a' }] },
      'mounts[0].type',
      /^'bind' \(default\), 'volume', 'tmpfs' or 'file'$/,
    ],
    [{ mounts: [{ type: 'nfs', source: '/b', target: '/a' }] }, 'mounts[0].type', /^'bind'/],
    [{ mounts: [{ type: 'volume', target: '/a' }] }, 'mounts[0].source', /^the name of a volume$/],
    [{ mounts: [{ type: 'bind', target: '/a' }] }, 'mounts[0].source', /^an absolute path$/],
    [{ mounts: [{ target: '/a' }] }, 'mounts[0].source', /^an absolute path$/],
    [{ mounts: ['/b:/a'] }, 'mounts[0]', /^a mount: \{ source/],
    [{ mounts: [inA('/a'), inA('/b'), inA('/a')] }, 'mounts[2].target', /no other mount is/],
    [{ mounts: [inA('/a/b'), inA('//a/./b/')] }, 'mounts[1].target', /leave one of the two out/],
    [{ capabilities: 'ALL' }, 'capabilities', /./],
    [{ namespaces: { pid: 'shared' } }, 'namespaces.pid', /'private'/],
    [{ namespaces: { time: 'shared' } }, 'namespaces.time', /\{ container \}, \{ path \}/],
    [{ network: 'a bridge' }, 'network', /network name/],
    [{ idMap: { uids: [], gids: [] } }, 'idMap.uids', /at least one range/],
    [{ idMap: 'yes' }, 'idMap', /'auto'/],
    [{ oomScoreAdj: 2000 }, 'oomScoreAdj', /-1000 to 1000/],
    [{ stopSignal: 'SIGFOO' }, 'stopSignal', /signal name/],
    [{ stdin: 5 }, 'stdin', /'pipe'/],
    [{ onSyscall: { mkdir: 'no' } }, 'onSyscall.mkdir', /function/],
    [{ limits: 5 }, 'limits', /object/],
    [{ limits: { memory: 512 } }, 'limits.memory', /at least 1 MiB/],
    [{ limits: { memory: '1023KiB' } }, 'limits.memory', /at least 1 MiB/],
    [{ labels: { a: 1 } }, 'labels.a', /string/],
  ])('%j', (spec, field, expected) => {
    const error = errorOf(() => validateSpec({ command, ...spec }));
    expect(error.code).toBe('ERR_NS_INVALID_SPEC');
    expect(error.field.endsWith(field)).toBe(true);
    expect(error.expected).toMatch(expected);
    expect(error.message).toContain(error.field);
  });

  test.each([null, undefined, 5, 'true', []])('the specification itself: %j', (spec) => {
    expect(errorOf(() => validateSpec(spec)).code).toBe('ERR_NS_INVALID_SPEC');
  });

  test('options of a run that are no options of a container', () => {
    expect(errorOf(() => validateRun({ command, signal: 'x' }))).toMatchObject({ field: 'signal' });
    expect(errorOf(() => validateRun({ command, encoding: 'latin1' }))).toMatchObject({ field: 'encoding' });
    expect(errorOf(() => validateSpec({ command, check: true }))).toMatchObject({ field: 'check' });
  });

  test('a pool of no or of broken sandboxes', () => {
    for (const size of [0, -1, 1.5, '4']) expect(errorOf(() => validatePoolOptions({ size })).field).toBe('size');
    expect(errorOf(() => validatePoolOptions({ reset: 'reuse' })).field).toBe('reset');
  });

  test('what sandboxes of a pool would not heed, or share', () => {
    const directories = { upper: '/srv/upper', work: '/srv/work' };
    const refused: [string, object][] = [
      ['log', { log: { directory: '/srv/log' } }],
      ['lifetime', { lifetime: { dieWithParent: false } }],
      ['stopSignal', { stopSignal: 'SIGINT' }],
      ['writable', { writable: { dir: '/srv/kept' } }],
      ['writable', { writable: directories }],
      ['rootfs.writable', { rootfs: { layers: ['/srv/image'], writable: directories } }],
    ];
    for (const [field, template] of refused)
      expect(errorOf(() => validatePoolOptions({ template })).field).toBe(`template.${field}`);
    for (const writable of ['tmpfs', 'none', { tmpfs: '1MiB' }])
      expect(validatePoolOptions({ template: { writable } })).toEqual({ template: { writable } });
  });
});

describe('what two fields say of one thing is one thing', () => {
  const [ten, twenty] = [10, { soft: 20, hard: 20 }];
  test.each<[spec: object, field: string, expected: string]>([
    [{ rlimits: { nofile: ten }, ulimits: { nofile: twenty } }, 'ulimits.nofile', 'rlimits.nofile'],
    [{ rootfs: { dir: '/usr', readonly: true }, writable: 'tmpfs' }, 'writable', "'none'"],
    [{ rootfs: { dir: '/usr', readonly: false }, writable: 'none' }, 'writable', 'a place to write to'],
    [{ rootfs: { layers: ['/usr'], writable: 'none' }, writable: { tmpfs: '1m' } }, 'writable', 'rootfs.writable'],
    [{ namespaces: { uts: 'host' }, hostname: 'x' }, 'hostname', 'nothing'],
    [{ namespaces: { uts: { container: 'other' } }, domainname: 'x' }, 'domainname', 'nothing'],
  ])('%j', (spec, field, expected) => {
    for (const validate of [validateSpec, validateRun]) {
      const error = errorOf(() => validate({ command, ...spec }));
      expect(error).toMatchObject({ field, expected: expect.stringContaining(expected) });
      expect(error.hint).toMatch(/leave one/i);
    }
  });

  test.each([
    { rlimits: { nofile: ten, core: 0 }, ulimits: { nofile: ten, nproc: 5 } },
    { rootfs: { dir: '/usr', readonly: true }, writable: 'none' },
    { rootfs: { dir: '/usr', readonly: false }, writable: 'direct' },
    { rootfs: { layers: ['/usr'], writable: { tmpfs: '1m' } }, writable: { tmpfs: '1m' } },
    { namespaces: { uts: 'private' }, hostname: 'x', domainname: 'y' },
    { namespaces: { uts: 'host' } },
  ])('%j', (spec) => {
    expect(validateSpec({ command, ...spec })).toEqual({ command, ...spec });
  });
});

test('what is right stays as it is; undefined is not given', () => {
  const spec = {
    command: ['sh', '-c', 'exit 3'],
    env: { A: '', 'ODD-NAME': 'x=y\nz' },
    hostname: 'é'.repeat(32),
    cwd: '/a b/..c',
    mounts: [
      { source: '/etc', target: '/proc/cpuinfo', readonly: true },
      { source: '/etc', target: '/processes' },
      { type: 'file', target: '/run/secrets/a', content: 'x' },
      inA('/processes/1'),
    ],
    limits: { memory: '1MiB' },
    maxOutput: { bytes: '1MiB', onExceed: 'drop-head' },
  };
  expect(validateSpec(spec)).toEqual(spec);
  expect(validateSpec({ ...spec, user: undefined, timeout: undefined })).toEqual(spec);
});
