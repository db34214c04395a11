import { encodeFileName } from '@ns/libc';
import { BLOCK, checksum, type Field, field, padding, paxRecord, paxTime, putNumber, TYPE } from './tar-format.ts';

/** What a tar archive says of one file. */
export interface TarEntry {
  /** From the root, without slashes at its ends. */
  readonly path: string;
  /** One of {@link TYPE}. */
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content that follow. */
  readonly size: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  /** Target of a symbolic link as it stands, path of a hard link from the root. */
  readonly linkName?: string;
  readonly devMajor?: number;
  readonly devMinor?: number;
  /** Extended attributes, exact bytes. */
  readonly xattrs?: ReadonlyMap<string, Buffer>;
}

// Ids above are pax records; 2 097 151 is what seven octal digits hold.
const MAX_OCTAL_ID = 0o7777777;
const MAX_OCTAL_SIZE = 0o77777777777;
const ascii = /^[\x01-\x7f]*$/;

/**
 * The blocks before a file's content: a ustar header, after a pax header where ustar cannot say it exactly. Nothing in it depends
 * on when, where or by whom it is made.
 */
export function encodeHeader(entry: TarEntry): Buffer {
  const path = entry.type === TYPE.DIRECTORY ? `${entry.path}/` : entry.path;
  const name = encodeFileName(path);
  const link = encodeFileName(entry.linkName ?? '');
  const records = paxRecords(entry, path, name, link);
  const header = ustar(entry, name, link);
  if (records.length === 0) return header;
  const body = Buffer.concat(records);
  const basename = name.subarray(name.lastIndexOf(0x2f, name.length - 2) + 1);
  const paxName = Buffer.concat([Buffer.from('PaxHeaders.0/'), basename]);
  const pax = ustar(
    { path: '', type: TYPE.PAX, mode: 0o644, uid: 0, gid: 0, size: body.length, mtimeSec: 0, mtimeNsec: 0 },
    paxName,
    Buffer.alloc(0),
  );
  return Buffer.concat([pax, body, Buffer.alloc(padding(body.length)), header]);
}

function paxRecords(entry: TarEntry, path: string, name: Buffer, link: Buffer): Buffer[] {
  const records: Buffer[] = [];
  const longName = name.length > field.name[1] || !ascii.test(path);
  const longLink = link.length > field.linkName[1] || !ascii.test(entry.linkName ?? '');
  if (longName || longLink) {
    // Pax text is UTF-8; names that are not have to say so first.
    if (!isUtf8Text(path) || !isUtf8Text(entry.linkName ?? '')) records.push(paxRecord('hdrcharset', 'BINARY'));
    if (longName) records.push(paxRecord('path', name));
    if (longLink) records.push(paxRecord('linkpath', link));
  }
  if (entry.size > MAX_OCTAL_SIZE) records.push(paxRecord('size', String(entry.size)));
  if (entry.uid > MAX_OCTAL_ID) records.push(paxRecord('uid', String(entry.uid)));
  if (entry.gid > MAX_OCTAL_ID) records.push(paxRecord('gid', String(entry.gid)));
  if (entry.mtimeNsec !== 0 || entry.mtimeSec < 0 || entry.mtimeSec > MAX_OCTAL_SIZE) {
    records.push(paxRecord('mtime', paxTime(entry.mtimeSec, entry.mtimeNsec)));
  }
  for (const [attribute, value] of entry.xattrs ?? []) records.push(paxRecord(`SCHILY.xattr.${attribute}`, value));
  return records;
}

const isUtf8Text = (text: string): boolean => !/[\ud800-\udfff]/u.test(text);

function ustar(entry: TarEntry, name: Buffer, link: Buffer): Buffer {
  const header = Buffer.alloc(BLOCK);
  const put = (which: Field, bytes: Buffer): void => void bytes.copy(header, field[which][0], 0, field[which][1]);
  put('name', name);
  putNumber(header, 'mode', entry.mode & 0o7777);
  // Where a pax record says it exactly, the field is only for readers that do not know pax: never a wrong size, which
  // would make two readers see two different archives (CVE-2025-62518).
  putNumber(header, 'uid', entry.uid);
  putNumber(header, 'gid', entry.gid);
  putNumber(header, 'size', entry.size);
  putNumber(header, 'mtime', Math.max(0, entry.mtimeSec));
  header.write(entry.type, field.type[0], 'latin1');
  put('linkName', link);
  header.write('ustar\x0000', field.magic[0], 'latin1');
  if (entry.devMajor !== undefined) putNumber(header, 'devMajor', entry.devMajor);
  if (entry.devMinor !== undefined) putNumber(header, 'devMinor', entry.devMinor);
  header.write(`${checksum(header).toString(8).padStart(6, '0')}\0 `, field.checksum[0], 'latin1');
  return header;
}
