import { MOUNT_ATTR, MS } from '@ns/libc';
import { mountAttributeNames, mountFlagNames, mountOptionTable, parseMountOptions } from '@ns/mounts';

// The "Linux mount options" table of the OCI runtime specification 1.2.
const specified =
  'async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap'.split(
    ' ',
  );

test('the table has every option of the specification, and no other', () => {
  expect(Object.keys(mountOptionTable).sort()).toEqual([...specified].sort());
});

test.each(specified)('%s is never taken for data', (option) => {
  expect(parseMountOptions([option]).data).toEqual([]);
});

test.each([
  [['ro'], { flags: MS.RDONLY, attributes: { set: MOUNT_ATTR.RDONLY, clear: 0 } }],
  [['ro', 'rw'], { flags: 0, clearFlags: MS.RDONLY, attributes: { set: 0, clear: MOUNT_ATTR.RDONLY } }],
  [['rw', 'ro'], { flags: MS.RDONLY, clearFlags: 0, attributes: { set: MOUNT_ATTR.RDONLY, clear: 0 } }],
  [['rbind'], { flags: MS.BIND | MS.REC }],
  [['nosuid', 'nodev', 'noexec'], { flags: MS.NOSUID | MS.NODEV | MS.NOEXEC, attributes: { set: 0xe, clear: 0 } }],
  [['noatime'], { flags: MS.NOATIME, attributes: { set: MOUNT_ATTR.NOATIME, clear: MOUNT_ATTR._ATIME } }],
  [
    ['noatime', 'strictatime'],
    { flags: MS.STRICTATIME, attributes: { set: MOUNT_ATTR.STRICTATIME, clear: MOUNT_ATTR._ATIME } },
  ],
  [['strictatime', 'relatime'], { flags: MS.RELATIME, attributes: { set: 0, clear: MOUNT_ATTR._ATIME } }],
  [['rro'], { flags: 0, attributes: { set: 0, clear: 0 }, recursiveAttributes: { set: MOUNT_ATTR.RDONLY, clear: 0 } }],
  [['rrw', 'rexec'], { recursiveAttributes: { set: 0, clear: MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOEXEC } }],
  [['rnoatime'], { recursiveAttributes: { set: MOUNT_ATTR.NOATIME, clear: MOUNT_ATTR._ATIME } }],
  [['rslave', 'shared'], { propagation: [MS.SLAVE | MS.REC, MS.SHARED] }],
  [['sync', 'dirsync', 'async'], { flags: MS.DIRSYNC, superblock: ['async', 'dirsync'] }],
  [['size=64m', 'mode=1777', 'nr_inodes=1'], { flags: 0, data: ['size=64m', 'mode=1777', 'nr_inodes=1'] }],
  [['tmpcopyup'], { tmpcopyup: true }],
  [['ridmap'], { idmap: 'ridmap' }],
  [['constructor'], { data: ['constructor'] }],
])('%j', (options, expected) => {
  expect(parseMountOptions(options)).toMatchObject(expected);
});

test.each([[['']], [['a\0b']], [[7 as unknown as string]]])('%j is refused, with its place', (options) => {
  expect(() => parseMountOptions(['ro', ...options])).toThrow(
    expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field: 'options[1]' }),
  );
});

test('flags by name, unknown bits as hex', () => {
  expect(mountFlagNames(MS.BIND | MS.REC | MS.RDONLY)).toBe('MS_RDONLY|MS_BIND|MS_REC');
  expect(mountFlagNames(MS.NOSUID | 0x40000000)).toBe('MS_NOSUID|0x40000000');
  expect(mountAttributeNames(0)).toBe('0');
  expect(mountAttributeNames(MOUNT_ATTR.RDONLY | MOUNT_ATTR.IDMAP)).toBe('MOUNT_ATTR_RDONLY|MOUNT_ATTR_IDMAP');
});
