import { encodeFileName } from '@ns/libc';
import { BLOCK, encodeXattrName, field, padding, paxRecord, paxTime, putNumber, TYPE } from './tar-format.ts';

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
const ZERO = 0x30;

/** Beginning and length of the fields that every header has. */
const [[, NAME_LENGTH], [LINK_AT, LINK_LENGTH], [CHECKSUM_AT], [MAGIC_AT]] = [
  field.name,
  field.linkName,
  field.checksum,
  field.magic,
];
/** What of a header is the same in all: zeros, `ustar` with version 00, and spaces for the checksum. */
const template = Buffer.alloc(BLOCK);
template.write('ustar\x0000', MAGIC_AT, 'latin1');
template.fill(0x20, CHECKSUM_AT, CHECKSUM_AT + field.checksum[1]);
const templateSum = template.reduce((sum, byte) => sum + byte, 0);

/**
 * Encodes the blocks before a file's content: a ustar header, after a pax header where ustar cannot say it exactly. Nothing in
 * it depends on when, where or by whom it is made. Header after header in one place: there is one for each of tens of
 * thousands of files.
 */
export class HeaderEncoder {
  #bytes = Buffer.alloc(4 * BLOCK);
  #length = 0;

  /** The latest header stands at its beginning. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  /** @returns how many bytes it has */
  encode(entry: TarEntry): number {
    this.#length = 0;
    const path = entry.type === TYPE.DIRECTORY ? `${entry.path}/` : entry.path;
    const { linkName = '' } = entry;
    const name = isAscii(path) ? path : encodeFileName(path);
    const link = isAscii(linkName) ? linkName : encodeFileName(linkName);
    const records = paxRecords(entry, path, name, linkName, link);
    if (records !== undefined) this.#paxHeader(name, records);
    this.#ustar(entry, name, link);
    return this.#length;
  }

  #paxHeader(name: string | Buffer, body: Buffer): void {
    const bytes = typeof name === 'string' ? Buffer.from(name, 'latin1') : name;
    const basename = bytes.subarray(bytes.lastIndexOf(0x2f, bytes.length - 2) + 1);
    const paxName = Buffer.concat([Buffer.from('PaxHeaders.0/'), basename]);
    const { length } = body;
    this.#ustar(
      { path: '', type: TYPE.PAX, mode: 0o644, uid: 0, gid: 0, size: length, mtimeSec: 0, mtimeNsec: 0 },
      paxName,
      '',
    );
    this.#reserve(length + padding(length));
    body.copy(this.#bytes, this.#length);
    this.#bytes.fill(0, this.#length + length, this.#length + length + padding(length));
    this.#length += length + padding(length);
  }

  #ustar(entry: TarEntry, name: string | Buffer, link: string | Buffer): void {
    this.#reserve(BLOCK);
    const at = this.#length;
    const header = this.#bytes;
    header.set(template, at);
    let sum = templateSum;
    sum += putText(header, at, NAME_LENGTH, name);
    sum += putOctal(header, at, 'mode', entry.mode & 0o7777);
    // Where a pax record says it exactly, the field is only for readers that do not know pax: never a wrong size, which
    // would make two readers see two different archives (CVE-2025-62518).
    sum += putOctal(header, at, 'uid', entry.uid);
    sum += putOctal(header, at, 'gid', entry.gid);
    sum += putOctal(header, at, 'size', entry.size);
    sum += putOctal(header, at, 'mtime', Math.max(0, entry.mtimeSec));
    const type = entry.type.charCodeAt(0);
    header[at + field.type[0]] = type;
    sum += type;
    sum += putText(header, at + LINK_AT, LINK_LENGTH, link);
    if (entry.devMajor !== undefined) sum += putOctal(header, at, 'devMajor', entry.devMajor);
    if (entry.devMinor !== undefined) sum += putOctal(header, at, 'devMinor', entry.devMinor);
    // Six digits, a NUL, a space.
    for (let digit = at + CHECKSUM_AT + 5; digit >= at + CHECKSUM_AT; digit--, sum >>>= 3)
      header[digit] = ZERO + (sum & 7);
    header[at + CHECKSUM_AT + 6] = 0;
    this.#length += BLOCK;
  }

  #reserve(length: number): void {
    if (this.#length + length <= this.#bytes.length) return;
    const larger = Buffer.alloc(2 * (this.#length + length));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}

/** Puts text into a field, as much as fits. Returns the sum of its bytes. */
function putText(header: Buffer, at: number, max: number, text: string | Buffer): number {
  const length = Math.min(text.length, max);
  let sum = 0;
  for (let i = 0; i < length; i++) {
    const byte = typeof text === 'string' ? text.charCodeAt(i) : text[i]!;
    header[at + i] = byte;
    sum += byte;
  }
  return sum;
}

/** Puts a number into a field. Returns the sum of its bytes. */
function putOctal(
  header: Buffer,
  at: number,
  which: 'mode' | 'uid' | 'gid' | 'size' | 'mtime' | 'devMajor' | 'devMinor',
  value: number,
): number {
  const [start, length] = field[which];
  let sum = 0;
  if (value < 0 || value > MAX_OCTAL_SIZE || (length === 8 && value > MAX_OCTAL_ID)) {
    putNumber(header.subarray(at, at + BLOCK), which, value);
    for (let i = 0; i < length; i++) sum += header[at + start + i]!;
    return sum;
  }
  let rest = value;
  for (let i = at + start + length - 2; i >= at + start; i--) {
    const next = Math.floor(rest / 8);
    const digit = ZERO + (rest - next * 8);
    header[i] = digit;
    sum += digit;
    rest = next;
  }
  return sum;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0 || code > 0x7f) return false;
  }
  return true;
}

/** What ustar cannot say; undefined when there is nothing. */
function paxRecords(
  entry: TarEntry,
  path: string,
  name: string | Buffer,
  linkName: string,
  link: string | Buffer,
): Buffer | undefined {
  const { size, uid, gid, mtimeSec, mtimeNsec, xattrs } = entry;
  let text = '';
  const longName = typeof name !== 'string' || name.length > NAME_LENGTH;
  const longLink = typeof link !== 'string' || link.length > LINK_LENGTH;
  // Pax text is UTF-8; names that are not have to say so first.
  if ((longName || longLink) && (!isUtf8Text(path) || !isUtf8Text(linkName))) text += paxRecord('hdrcharset', 'BINARY');
  if (longName) text += paxRecord('path', latin1(name));
  if (longLink) text += paxRecord('linkpath', latin1(link));
  if (size > MAX_OCTAL_SIZE) text += paxRecord('size', String(size));
  if (uid > MAX_OCTAL_ID) text += paxRecord('uid', String(uid));
  if (gid > MAX_OCTAL_ID) text += paxRecord('gid', String(gid));
  if (mtimeNsec !== 0 || mtimeSec < 0 || mtimeSec > MAX_OCTAL_SIZE)
    text += paxRecord('mtime', paxTime(mtimeSec, mtimeNsec));
  if (xattrs && xattrs.size > 0)
    for (const [attribute, value] of xattrs)
      text += paxRecord(`SCHILY.xattr.${latin1(encodeFileName(encodeXattrName(attribute)))}`, value.toString('latin1'));
  return text === '' ? undefined : Buffer.from(text, 'latin1');
}

const latin1 = (bytes: string | Buffer): string => (typeof bytes === 'string' ? bytes : bytes.toString('latin1'));
const isUtf8Text = (text: string): boolean => !/[\ud800-\udfff]/u.test(text);
