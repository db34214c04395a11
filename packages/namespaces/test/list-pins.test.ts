import { parsePins } from '../src/list-pins.ts';

test('mounts of nsfs are pins; others are not', () => {
  const mountinfo = [
    '22 1 0:20 / /proc rw,nosuid - proc proc rw',
    '90 22 0:4 net:[4026532601] /run/netns/my\\040net rw shared:5 - nsfs nsfs rw',
    '91 22 0:4 mnt:[4026532602] /run/m rw - nsfs nsfs rw',
    '92 22 0:4 bogus:[1] /run/b rw - nsfs nsfs rw',
    '',
  ].join('\n');
  expect(parsePins(mountinfo)).toEqual([
    { kind: 'net', inode: 4026532601, path: '/run/netns/my net' },
    { kind: 'mnt', inode: 4026532602, path: '/run/m' },
  ]);
});
