import { decodeFileName, encodeFileName } from '@ns/libc';
import fc from 'fast-check';
import { getNumber, parsePax, parsePaxTime, paxRecord, paxTime, putNumber, TYPE } from '../src/tar-format.ts';
import type { TarEntry } from '../src/tar-header.ts';
import { type TarMember, TarReader } from '../src/tar-reader.ts';
import { encodeHeader } from './encode-header.ts';

/** Reads an archive in pieces of one size. */
function read(archive: Buffer, piece = archive.length || 1): { member: TarMember; content: Buffer }[] {
  const found: { member: TarMember; content: Buffer }[] = [];
  const reader = new TarReader({
    member: (member) => found.push({ member, content: Buffer.alloc(0) }),
    content: (bytes) => {
      const last = found.at(-1)!;
      last.content = Buffer.concat([last.content, bytes]);
    },
    memberEnd: () => {},
    extension: () => {},
  });
  for (let at = 0; at < archive.length; at += piece) reader.write(archive.subarray(at, at + piece));
  reader.end();
  return found;
}

const base: TarEntry = { path: 'f', type: TYPE.FILE, mode: 0o644, uid: 0, gid: 0, size: 0, mtimeSec: 0, mtimeNsec: 0 };

test('a pax record counts its own length, at every turn of a digit', () => {
  for (let length = 0; length < 2000; length++) {
    const record = Buffer.from(paxRecord('k', 'x'.repeat(length)), 'latin1');
    expect(Number.parseInt(record.toString(), 10)).toBe(record.length);
  }
});

test.each([
  [0, 0, '0'],
  [1350244992, 23960108, '1350244992.023960108'],
  [1, 500_000_000, '1.5'],
  [-1, 0, '-1'],
  [-1, 500_000_000, '-0.5'],
  [-2, 999_999_999, '-1.000000001'],
])('time %i s %i ns is %s', (sec, nsec, text) => {
  expect(paxTime(sec, nsec)).toBe(text);
  expect(parsePaxTime(text)).toEqual({ sec, nsec });
});

test.each(['', '.', 'x', '1e9', '1,5', '--1', '0x10', ' 1'])('%j is no time', (text) => {
  expect(parsePaxTime(text)).toBeUndefined();
});

test('numbers in octal and in base-256', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const header = Buffer.alloc(512);
      putNumber(header, 'size', value);
      expect(getNumber(header, 'size')).toBe(value);
    }),
  );
  const header = Buffer.alloc(512);
  putNumber(header, 'size', 8 * 2 ** 30 - 1);
  expect(header.toString('latin1', 124, 136)).toBe('77777777777\0');
  putNumber(header, 'size', 8 * 2 ** 30);
  expect(header[124]).toBe(0x80);
});

test('a plain file has the bytes every tar writes', () => {
  const header = encodeHeader({ ...base, path: 'etc/hosts', uid: 1000, gid: 100, size: 10, mtimeSec: 1_700_000_000 });
  expect(header).toHaveLength(512);
  expect(header.toString('latin1', 0, 10)).toBe('etc/hosts\0');
  expect(header.toString('latin1', 100, 108)).toBe('0000644\0'); // mode
  expect(header.toString('latin1', 108, 116)).toBe('0001750\0'); // uid
  expect(header.toString('latin1', 116, 124)).toBe('0000144\0'); // gid
  expect(header.toString('latin1', 124, 136)).toBe('00000000012\0'); // size
  expect(header.toString('latin1', 136, 148)).toBe('14524770400\0'); // mtime
  expect(header.toString('latin1', 156, 157)).toBe('0');
  expect(header.toString('latin1', 257, 265)).toBe('ustar\x0000');
});

const name = fc
  .uint8Array({ minLength: 1, maxLength: 300 })
  .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x61 : byte))));

test('any entry comes back exactly, in pieces of any size', () => {
  const entry = fc.record({
    name,
    uid: fc.nat(2 ** 31),
    gid: fc.nat(2 ** 31),
    mode: fc.nat(0o7777),
    mtimeSec: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    mtimeNsec: fc.nat(999_999_999),
    xattr: fc.uint8Array({ maxLength: 100 }),
    content: fc.uint8Array({ maxLength: 1500 }),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 4 }), fc.integer({ min: 1, max: 2000 }), (entries, piece) => {
      const archive = Buffer.concat(
        entries.flatMap(({ name: bytes, content, xattr, ...rest }) => [
          encodeHeader({
            ...rest,
            path: decodeFileName(bytes),
            type: TYPE.FILE,
            size: content.length,
            xattrs: new Map([['user.x', Buffer.from(xattr)]]),
          }),
          Buffer.from(content),
          Buffer.alloc((512 - (content.length % 512)) % 512),
        ]),
      );
      const found = read(Buffer.concat([archive, Buffer.alloc(1024)]), piece);
      expect(
        found.map(({ member, content }) => ({
          path: encodeFileName(member.path),
          content,
          xattr: member.xattrs.get('user.x'),
        })),
      ).toEqual(
        entries.map((wanted) => ({
          path: wanted.name,
          content: Buffer.from(wanted.content),
          xattr: Buffer.from(wanted.xattr),
        })),
      );
      for (const [index, { member }] of found.entries()) {
        const { uid, gid, mtimeSec, mtimeNsec } = entries[index]!;
        expect(member).toMatchObject({ uid, gid, mtimeSec, mtimeNsec });
      }
    }),
    { numRuns: 60 },
  );
});

test('names of attributes are bytes, and may hold what ends a key', () => {
  const xattrs = new Map(['user.a=b', 'user.%3D', 'user.%25=%', 'user.\udcff'].map((key) => [key, Buffer.from('v=1')]));
  const header = encodeHeader({ ...base, xattrs });
  expect(header.includes('SCHILY.xattr.user.a%3Db=v=1\n')).toBe(true);
  expect(read(header)[0]?.member.xattrs).toEqual(xattrs);
});

test('the pax size wins over the header, whatever that says (CVE-2025-62518)', () => {
  const inner = encodeHeader({ ...base, path: 'smuggled' });
  const pax = Buffer.from(paxRecord('size', String(inner.length)), 'latin1');
  const archive = Buffer.concat([
    encodeHeader({ ...base, path: 'x', type: TYPE.PAX, size: pax.length }),
    Buffer.concat([pax, Buffer.alloc(512 - pax.length)]),
    encodeHeader({ ...base, path: 'outer', size: 0 }),
    inner,
    Buffer.alloc(1024),
  ]);
  expect(read(archive).map(({ member }) => member.path)).toEqual(['outer']);
});

test('an empty pax record says nothing: the header counts', () => {
  const pax = Buffer.alloc(512);
  const length = pax.write(['path', 'linkpath', 'mtime', 'uid'].map((key) => paxRecord(key, '')).join(''));
  const extension = encodeHeader({ ...base, path: 'x', type: TYPE.PAX, size: length });
  const link = encodeHeader({ ...base, path: 'link', type: TYPE.SYMLINK, linkName: 'to', mtimeSec: 7, uid: 3 });
  expect(read(Buffer.concat([extension, pax, link]))[0]?.member).toMatchObject({
    path: 'link',
    linkName: 'to',
    mtimeSec: 7,
    uid: 3,
  });
});

test('parsePax refuses what is malformed', () => {
  for (const text of ['5 a=b', '6 a=b\n6', '0 a=b\n', '-6 a=b\n', '7 a=b\n', '6 a:b\n', '999999999 a=b\n', 'x']) {
    expect(parsePax(Buffer.from(text))).toBeUndefined();
  }
  expect(parsePax(Buffer.from('6 a=b\n'))?.get('a')?.toString()).toBe('b');
});

test.each<[string, Buffer, string]>([
  ['something that is no archive', Buffer.from('hello '.repeat(200)), 'ERR_NS_BAD_ARCHIVE'],
  ['an archive cut in a header', encodeHeader(base).subarray(0, 300), 'ERR_NS_BAD_ARCHIVE'],
  ['an archive cut in content', encodeHeader({ ...base, size: 600 }), 'ERR_NS_BAD_ARCHIVE'],
  ['an unknown type', encodeHeader({ ...base, type: 'Z' }), 'ERR_NS_BAD_ARCHIVE'],
  ['a link with content', encodeHeader({ ...base, type: TYPE.SYMLINK, size: 512 }), 'ERR_NS_BAD_ARCHIVE'],
  ...[2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER].flatMap((id): [string, Buffer, string][] => [
    [`user ${id}`, encodeHeader({ ...base, uid: id }), 'ERR_NS_BAD_ARCHIVE'],
    [`group ${id}`, encodeHeader({ ...base, gid: id }), 'ERR_NS_BAD_ARCHIVE'],
  ]),
  ['a pax header of gigabytes', encodeHeader({ ...base, type: TYPE.PAX, size: 2 ** 32 }), 'ERR_NS_ARCHIVE_TOO_LARGE'],
])('%s is refused', (_what, archive, code) => {
  expect(() => read(archive)).toThrow(expect.objectContaining({ code }));
});

test('an empty archive, and one without the end, are archives', () => {
  expect(read(Buffer.alloc(0))).toEqual([]);
  expect(read(Buffer.alloc(1024))).toEqual([]);
  expect(read(encodeHeader(base))).toHaveLength(1);
});
