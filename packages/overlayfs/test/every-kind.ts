import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  openSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { closeFd, mknodAt, openAt, S, setXattr, utimesAt } from '@ns/libc';
import type { Scratch } from './scratch.ts';

/** A value that is no text in any encoding. */
export const binary = Buffer.from([0, 0xff, 0x80, 0xc3, 0x28, 0x0a, 0x3d, 0x20]);

/** Bytes of a file with holes that tar(1) before POSIX could not have said. */
export const HUGE = 9 * 2 ** 30;

const bytes = (root: string, ...name: number[]) => Buffer.concat([Buffer.from(`${root}/`), Buffer.from(name)]);

/**
 * A tree with every kind of file but sockets, which no archive has: links of both kinds, devices, FIFOs, holes, attributes, modes, times,
 * and names of every sort.
 */
export function everyKind(scratch: Scratch, name: string): string {
  const root = scratch.tree(name, {
    'a/file': 'content',
    'a/empty': '',
    'b/c/d/': '',
    [`${'l'.repeat(255)}/${'m'.repeat(255)}`]: 'long',
    ümläut: 'u',
    ' blanks \t': '',
    'new\nline': '',
    'back\\slash:colon,comma': '',
    '-rf': '',
    '.wh': 'no whiteout',
    private: 'unreadable',
  });
  linkSync(join(root, 'a/file'), join(root, 'b/hard'));
  symlinkSync('../a/file', join(root, 'b/soft'));
  symlinkSync(`/${'t'.repeat(300)}`, join(root, 'b/far'));
  symlinkSync('loop', join(root, 'b/loop'));
  linkSync(join(root, 'b/soft'), join(root, 'b/soft-too'));
  writeFileSync(bytes(root, 0xff, 0xfe), 'not utf-8');
  symlinkSync(Buffer.of(0xfe, 0xff), bytes(root, 0x80));
  chmodSync(join(root, 'a/file'), 0o6755);
  chmodSync(join(root, 'private'), 0);
  chmodSync(join(root, 'b/c'), 0o1777);
  chmodSync(join(root, 'b/c/d'), 0o2570);
  chownSync(join(root, 'a/empty'), 1000, 3_000_000);
  const fd = openAt(-100, root, 0o200000);
  for (const [node, type, major, minor] of [
    ['null', S.IFCHR, 1, 3],
    ['disk', S.IFBLK, 259, 70000],
    ['fifo', S.IFIFO, 0, 0],
  ] as const)
    expect(mknodAt(fd, node, type | 0o640, major, minor)).toBe(0);
  linkSync(join(root, 'fifo'), join(root, 'fifo-too'));
  const capability = Buffer.from('0100000202040000000000000000000000000000', 'hex');
  for (const [path, attribute, value] of [
    ['a/file', 'user.bin', binary],
    ['a/file', 'user.empty', Buffer.alloc(0)],
    ['a/file', 'trusted.t', binary],
    ['a/file', 'security.capability', capability],
    ['b', 'user.dir', binary],
    ['b/soft', 'trusted.link', binary],
    ['null', 'trusted.device', binary],
  ] as const)
    expect(setXattr(fd, path, attribute, value)).toBe(0);
  for (const [file, end, at] of [
    ['sparse', 20_000_000, 5_000_000],
    ['only-a-hole', 3_000_000, 0],
  ] as const) {
    const sparse = openSync(join(root, file), 'w');
    if (at > 0) writeSync(sparse, 'middle', at);
    ftruncateSync(sparse, end);
    closeSync(sparse);
  }
  for (const [path, sec, nsec] of [
    ['a/file', 1_234_567_890, 123_456_789],
    ['a/empty', -1235, 750_000_000],
    ['b/soft', 7, 1],
    ['b/c', 2 ** 33, 0],
    ['fifo', 0, 999_999_999],
  ] as const)
    expect(utimesAt(fd, path, { atimeSec: sec, atimeNsec: nsec, mtimeSec: sec, mtimeNsec: nsec })).toBe(0);
  closeFd(fd);
  return root;
}

/** A file over 8 GiB that is a hole but for its ends. */
export function hugeFile(path: string): void {
  const fd = openSync(path, 'w');
  writeSync(fd, 'begin', 0);
  writeSync(fd, 'end', HUGE - 3);
  closeSync(fd);
}
