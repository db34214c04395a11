import { readFileSync } from 'node:fs';
import { mountsBelow, parseMountinfo, parseMountinfoLine, readMountinfo } from '@ns/mounts';
import fc from 'fast-check';

test('the example of proc_pid_mountinfo(5)', () => {
  expect(parseMountinfoLine('36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue')).toEqual({
    id: 36,
    parentId: 35,
    major: 98,
    minor: 0,
    root: '/mnt1',
    target: '/mnt2',
    options: ['rw', 'noatime'],
    propagation: { master: 1, unbindable: false },
    unknownFields: [],
    type: 'ext3',
    source: '/dev/root',
    superOptions: ['rw', 'errors=continue'],
  });
});

test.each([
  ['', { unbindable: false }],
  ['shared:7 ', { shared: 7, unbindable: false }],
  ['master:3 ', { master: 3, unbindable: false }],
  ['shared:7 master:3 ', { shared: 7, master: 3, unbindable: false }],
  ['master:3 propagate_from:2 ', { master: 3, propagateFrom: 2, unbindable: false }],
  ['unbindable ', { unbindable: true }],
])('propagation fields %j', (fields, propagation) => {
  expect(parseMountinfoLine(`1 2 0:3 / /a rw ${fields}- tmpfs none rw`)?.propagation).toEqual(propagation);
});

test('unknown optional fields are kept', () => {
  const mount = parseMountinfoLine('1 2 0:3 / /a rw shared:1 novel:9 flag - tmpfs none rw');
  expect(mount?.unknownFields).toEqual(['novel:9', 'flag']);
  expect(mount?.propagation.shared).toBe(1);
});

test('escapes, an empty source, and a hyphen as a mount point', () => {
  const mount = parseMountinfoLine(
    '1 2 0:3 /with\\040space /a\\011tab\\012line\\134back\\043hash rw - fuse.ssh\\040fs  rw,x=a\\054b',
  );
  expect(mount).toMatchObject({
    root: '/with space',
    target: '/a\ttab\nline\\back#hash',
    type: 'fuse.ssh fs',
    source: '',
    superOptions: ['rw', 'x=a,b'],
  });
  expect(parseMountinfoLine('1 2 0:3 / - rw - tmpfs - rw')).toMatchObject({ target: '-', type: 'tmpfs', source: '-' });
});

test('what is no mountinfo line is left out', () => {
  expect(parseMountinfo('\nnonsense\n1 2 0:3 / /a rw - tmpfs none rw\n1 2 0:3 / /a rw - tmpfs\n')).toHaveLength(1);
});

test('any target survives the kernel escapes', () => {
  const escaped = (text: string) =>
    text.replace(/[ \t\n\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), (text) => {
      expect(parseMountinfoLine(`1 2 0:3 / ${escaped(text)} rw - tmpfs none rw`)?.target).toBe(text);
    }),
  );
});

test('this process: as many mounts as lines, and the root among them', () => {
  const mounts = readMountinfo();
  expect(mounts).toHaveLength(readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n').length);
  expect(mounts.map(({ target }) => target)).toContain('/');
  expect(() => readMountinfo(2 ** 22 + 1)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
});

test('mounts at and below a path, not beside it', () => {
  const mounts = parseMountinfo(
    ['/', '/a', '/a/b', '/ab', '/c'].map((target, id) => `${id} 0 0:3 / ${target} rw - tmpfs none rw`).join('\n'),
  );
  const targets = (path: string) => mountsBelow(path, mounts).map(({ target }) => target);
  expect(targets('/a')).toEqual(['/a', '/a/b']);
  expect(targets('/a/')).toEqual(['/a', '/a/b']);
  expect(targets('/')).toEqual(['/', '/a', '/a/b', '/ab', '/c']);
});

test('10,000 mounts are parsed well within a frame or ten', () => {
  const line = (id: number) =>
    `${id} 25 0:${id} / /var/lib/docker/overlay2/${'f'.repeat(32)}${id}/merged rw,nosuid,relatime shared:${id} - overlay overlay rw,lowerdir=/l/${id}:/l/${id + 1},upperdir=/u/${id},workdir=/w/${id}\n`;
  const text = Array.from({ length: 10_000 }, (_, id) => line(id)).join('');
  const start = performance.now();
  expect(parseMountinfo(text)).toHaveLength(10_000);
  expect(performance.now() - start).toBeLessThan(500);
});
