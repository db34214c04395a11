import { decodeFileName, S } from '@ns/libc';

/* The tar format as layers use it: POSIX ustar headers with pax extended headers (POSIX.1-2001), and on reading also what
   GNU tar writes. Field positions: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html */

export const BLOCK = 512;
const ZERO = 0x30;
const SPACE = 0x20;

/** The field of the ustar header for each piece of information: offset and length. */
export const field = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkName: [157, 100],
  magic: [257, 8],
  devMajor: [329, 8],
  devMinor: [337, 8],
  prefix: [345, 155],
} as const;

export type Field = keyof typeof field;

/** Type flags. */
export const TYPE = {
  FILE: '0',
  HARD_LINK: '1',
  SYMLINK: '2',
  CHARACTER: '3',
  BLOCK: '4',
  DIRECTORY: '5',
  FIFO: '6',
  CONTIGUOUS: '7',
  PAX: 'x',
  PAX_GLOBAL: 'g',
  GNU_LONG_NAME: 'L',
  GNU_LONG_LINK: 'K',
  GNU_SPARSE: 'S',
} as const;

/** The type flag of a mode; sockets have none. */
export const typeOfMode: Readonly<Record<number, string>> = {
  [S.IFREG]: TYPE.FILE,
  [S.IFLNK]: TYPE.SYMLINK,
  [S.IFCHR]: TYPE.CHARACTER,
  [S.IFBLK]: TYPE.BLOCK,
  [S.IFDIR]: TYPE.DIRECTORY,
  [S.IFIFO]: TYPE.FIFO,
};

/** The mode bits of a type flag. */
export const modeOfType: Readonly<Record<string, number>> = {
  [TYPE.FILE]: S.IFREG,
  [TYPE.CONTIGUOUS]: S.IFREG,
  [TYPE.SYMLINK]: S.IFLNK,
  [TYPE.CHARACTER]: S.IFCHR,
  [TYPE.BLOCK]: S.IFBLK,
  [TYPE.DIRECTORY]: S.IFDIR,
  [TYPE.FIFO]: S.IFIFO,
};

/** Bytes to the next block boundary. */
export const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK;

/** A number in octal; in GNU's base-256 where octal is too short (a size of 8 GiB and more). */
export function putNumber(header: Buffer, which: Field, value: number): void {
  const [start, length] = field[which];
  const octal = value.toString(8);
  if (value >= 0 && octal.length < length) {
    header.write(octal.padStart(length - 1, '0'), start, 'latin1');
    return;
  }
  let rest = BigInt.asUintN(64, BigInt(value));
  header.fill(value < 0 ? 0xff : 0, start, start + length);
  for (let at = start + length - 1; at > start && at > start + length - 9; at--) {
    header[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  header[start] = value < 0 ? 0xff : 0x80;
}

/** A number in octal or base-256; `undefined` when it is neither. */
export function getNumber(header: Buffer, which: Field): number | undefined {
  const [start, length] = field[which];
  if (header[start]! & 0x80) {
    let value = header[start]! === 0xff ? -1n : BigInt(header[start]! & 0x7f);
    for (let at = start + 1; at < start + length; at++) value = (value << 8n) | BigInt(header[at]!);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : undefined;
  }
  let at = start;
  let end = start + length;
  while (at < end && header[at] === SPACE) at++;
  while (end > at && (header[end - 1] === SPACE || header[end - 1] === 0)) end--;
  let value = 0;
  for (; at < end; at++) {
    const digit = header[at]! - ZERO;
    if (digit < 0 || digit > 7) return undefined;
    value = value * 8 + digit;
  }
  return value;
}

/** The bytes of a text field, to its first NUL. */
export function getBytes(header: Buffer, which: Field): Buffer {
  const [start, length] = field[which];
  const end = header.indexOf(0, start);
  return header.subarray(start, end < 0 || end > start + length ? start + length : end);
}

/** Sum of all bytes of a header, its checksum field counted as spaces. */
export function checksum(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < BLOCK; at++) sum += header[at]!;
  const [start, length] = field.checksum;
  for (let at = start; at < start + length; at++) sum += 0x20 - header[at]!;
  return sum;
}

/** One pax record, `30 mtime=1350244992.023960108\n`: its own length counts. Every character is a byte. */
export function paxRecord(key: string, value: string): string {
  const body = ` ${key}=${value}\n`;
  let length = body.length + String(body.length).length;
  if (String(length).length + body.length !== length) length = body.length + String(length).length;
  return `${length}${body}`;
}

/** The records of a pax header; `undefined` when it is malformed. Values are bytes. */
export function parsePax(data: Buffer): Map<string, Buffer> | undefined {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const digits = space < 0 ? '' : data.toString('latin1', at, space);
    if (!/^[1-9][0-9]{0,8}$/.test(digits)) return undefined;
    const end = at + Number(digits);
    const equals = data.indexOf(0x3d, space);
    if (end > data.length || data[end - 1] !== 0x0a || equals < 0 || equals >= end) return undefined;
    records.set(decodeFileName(data.subarray(space + 1, equals)), data.subarray(equals + 1, end - 1));
    at = end;
  }
  return records;
}

/** The name of an attribute as a key, which ends at the first `=`: as GNU tar writes it. */
export const encodeXattrName = (name: string): string => name.replaceAll('%', '%25').replaceAll('=', '%3D');

/** The reverse of {@link encodeXattrName}. */
export const decodeXattrName = (key: string): string => key.replaceAll('%3D', '=').replaceAll('%25', '%');

/** Seconds and nanoseconds as pax writes them: exact, and without zeros at the end. */
export function paxTime(sec: number, nsec: number): string {
  const negative = sec < 0;
  const [whole, fraction] = negative && nsec > 0 ? [-sec - 1, 1e9 - nsec] : [Math.abs(sec), nsec];
  const digits = fraction === 0 ? '' : `.${String(fraction).padStart(9, '0').replace(/0+$/, '')}`;
  return `${negative ? '-' : ''}${whole}${digits}`;
}

/** The reverse of {@link paxTime}; `undefined` when it is no time. */
export function parsePaxTime(text: string): { sec: number; nsec: number } | undefined {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (!match) return undefined;
  const whole = Number(match[2]);
  const fraction = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] === '') return { sec: whole, nsec: fraction };
  return fraction === 0 ? { sec: 0 - whole, nsec: 0 } : { sec: -whole - 1, nsec: 1e9 - fraction };
}
