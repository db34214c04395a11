import { chmodSync, chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseMountinfo } from '@ns/mounts';
import { needs, notRoot } from '@ns/testing';
import { makeCheckpointDirectory, readCheckpoint } from '../src/checkpoint/checkpoint-directory.ts';
import { CheckpointError } from '../src/checkpoint/checkpoint-error.ts';
import { keepsNoNewPrivileges, networkLock } from '../src/checkpoint/criu.ts';
import { addInitExecutable } from '../src/checkpoint/init-executable.ts';
import { checkCheckpointable } from '../src/checkpoint/obstacles.ts';
import { outsideMounts } from '../src/checkpoint/outside-mounts.ts';
import type { ContainerSpec } from '../src/index.ts';

const spec = { command: ['sleep', '60'] } satisfies ContainerSpec;

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'checkpoint-'));
});
afterEach(() => rmSync(place, { recursive: true, force: true }));

describe('what can be checkpointed', () => {
  test.each<Partial<ContainerSpec>>([
    {},
    { network: 'none', init: false, user: '1000', writable: { tmpfs: '1MiB' }, tty: false },
    { writable: 'none', namespaces: { net: 'private' }, lifetime: { dieWithParent: true } },
    {
      mounts: [
        { source: '/srv', target: '/srv' },
        { type: 'tmpfs', target: '/cache' },
      ],
    },
  ])('%j', (more) => {
    expect(() => checkCheckpointable({ ...spec, ...more })).not.toThrow();
  });

  test.each<[field: string, Partial<ContainerSpec>]>([
    ['tty', { tty: true }],
    ['lifetime.dieWithParent', { lifetime: { dieWithParent: false } }],
    ['network', { network: 'host' }],
    ['namespaces', { namespaces: { pid: 'host' } }],
    ['idMap', { idMap: 'auto' }],
    ['idMap', { namespaces: { user: 'private' } }],
    ['onSyscall', { onSyscall: {} }],
    ['cgroupAccess', { cgroupAccess: 'delegated' }],
    ['writable', { writable: { dir: '/srv/kept' } }],
    ['writable', { rootfs: { layers: ['/srv/layer'], writable: { upper: '/srv/upper', work: '/srv/work' } } }],
    ['mounts', { mounts: [{ type: 'file', target: '/secret', content: 'x' }] }],
    ['mounts', { mounts: [{ source: '/srv', target: '/srv', owner: 'keep' }] }],
  ])('not with %s %j', (field, more) => {
    expect(() => checkCheckpointable({ ...spec, ...more })).toThrow(
      expect.objectContaining({
        code: 'ERR_NS_NOT_CHECKPOINTABLE',
        message: expect.stringContaining(`this ${field} `),
      }),
    );
  });
});

test('mounts of what is outside are found, one of each place, and what they are of', () => {
  const mountinfo = `67 42 0:37 / / rw - overlay none rw
70 67 0:40 / /tmp rw - overlay none rw
74 67 0:46 / /proc rw - proc none rw
76 67 0:34 /ns/ns-1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw
77 67 0:48 / /dev rw - tmpfs none rw
78 77 0:48 /null /dev/null rw - tmpfs none rw
88 74 0:36 /empty /proc/acpi ro - tmpfs none rw
89 74 0:48 /null /proc/kcore rw - tmpfs none rw
97 74 0:46 /sys /proc/sys ro - proc none rw
98 67 8:1 /data /data rw - ext4 /dev/sda1 rw
99 98 8:1 /data /data ro - ext4 /dev/sda1 rw
`;
  expect(outsideMounts(parseMountinfo(mountinfo))).toEqual([
    { key: 'outside-0', target: '/tmp', what: 'root' },
    { key: 'outside-1', target: '/sys/fs/cgroup', what: 'cgroup' },
    { key: 'outside-2', target: '/proc/acpi', what: 'empty' },
    { key: 'outside-3', target: '/data', what: 'root' },
  ]);
});

test('the executable of an init is added to the files of an image', () => {
  const magic = Buffer.from('1943565428495743', 'hex');
  // mm_entry: fields 1 and 11 numbers of several bytes, field 12 the number 300
  const entry = Buffer.from('0880808002589a0560ac02', 'hex');
  writeFileSync(join(place, 'mm-1.img'), Buffer.concat([magic, Buffer.from([entry.length, 0, 0, 0]), entry]));
  writeFileSync(join(place, 'files.img'), magic);
  addInitExecutable(place, 'ns-stage');
  const name = Buffer.from('ns-stage').toString('hex');
  const file = `08ac02100018002a0a080010001800200028003208${name}4801`;
  const added = `080110ac021a${(file.length / 2).toString(16)}${file}`;
  expect(readFileSync(join(place, 'files.img')).subarray(8).toString('hex')).toBe(
    `${(added.length / 2).toString(16)}000000${added}`,
  );
});

test('of what CRIU says in its log the error has the reason, the hint the way out, and a field all of it', () => {
  const log = `(00.1) Error (criu/tun.c:85): tun: Unable to create tun
(00.2) all is well
(00.3) Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.
`;
  const error = new CheckpointError('ERR_NS_CHECKPOINT_FAILED', 'it could not be done', log);
  expect(error).toMatchObject({
    code: 'ERR_NS_CHECKPOINT_FAILED',
    log,
    hint: expect.stringContaining('tcpEstablished'),
  });
  expect(error.message).toContain('it could not be done:\n(00.3) Error');
  expect(error.message).not.toContain('tun');
  expect(new CheckpointError('ERR_NS_RESTORE_FAILED', 'no', '').message).toMatch(
    /^no: CRIU wrote no reason into its log\. /,
  );
});

test('a directory without a checkpoint is said to be one', () => {
  expect(() => readCheckpoint(place)).toThrow(expect.objectContaining({ code: 'ERR_NS_CHECKPOINT_NOT_FOUND' }));
  writeFileSync(join(place, 'checkpoint.json'), '{"version":');
  expect(() => readCheckpoint(place)).toThrow(expect.objectContaining({ code: 'ERR_NS_CHECKPOINT_NOT_FOUND' }));
});

test('nor is a directory taken for one that others may write to', () => {
  chmodSync(place, 0o770);
  expect(() => readCheckpoint(place)).toThrow(expect.objectContaining({ code: 'ERR_NS_CHECKPOINT_UNSAFE' }));
});

needs(notRoot)('nothing is written into a directory of somebody else', () => {
  chownSync(place, 65_534, 65_534);
  expect(() => makeCheckpointDirectory(place)).toThrow(expect.objectContaining({ code: 'ERR_NS_CHECKPOINT_UNSAFE' }));
  expect(readdirSync(place)).toEqual([]);
});

test.each([
  ['3.17.1', false],
  ['3.19', true],
  ['4.2', true],
])('what CRIU %s can', (version, late) => {
  const criu = { path: '/usr/sbin/criu', version };
  expect(keepsNoNewPrivileges(criu)).toBe(late);
  expect(networkLock(criu)).toBe(late ? 'skip' : 'nftables');
});
