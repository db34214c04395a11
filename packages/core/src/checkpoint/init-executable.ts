import { appendFileSync, fstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { O, open } from '@ns/libc';

/** What an init is executed from: a sealed memfd of ours, so that no container can change it. */
export interface InitExecutable {
  /** CRIU's name for it, which has no path: mount and inode, in hexadecimal. */
  readonly name: string;
  /** Its pages are what is in memory. Not so after a restore, where that is another memfd, of CRIU's. */
  readonly isMapped: boolean;
}

/** @param pid - of an init */
export function initExecutableOf(pid: number): InitExecutable {
  using executable = open(`/proc/${pid}/exe`, O.RDONLY);
  const mount = /^mnt_id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${executable.fd}`, 'utf8'))![1];
  const { ino } = fstatSync(executable.fd);
  const [, code] = /^\S+ r-xp \S+ \S+ (\d+)/m.exec(readFileSync(`/proc/${pid}/maps`, 'utf8'))!;
  return { name: `file[${Number(mount).toString(16)}:${ino.toString(16)}]`, isMapped: Number(code) === ino };
}

const FILE_TYPE = { reg: 1 } as const; // enum fd_types of fdinfo.proto

/**
 * CRIU writes down a memfd that is both mapped and executed once, as memory, and its restore then finds no file of that
 * number to execute. So we add one that it is handed (`--inherit-fd`).
 *
 * @param images - of a container with an init, which is pid 1
 */
export function addInitExecutable(images: string, name: string): void {
  // Of mm_entry in mm.proto, field 12 is exe_file_id.
  const id = numberField(firstMessage(readFileSync(join(images, 'mm-1.img'))), 12);
  const owner = message([1, 0], [2, 0], [3, 0], [4, 0], [5, 0]); // fown_entry: nobody gets signals for it
  const file = message([1, id], [2, 0], [3, 0], [5, owner], [6, Buffer.from(name)], [9, 1]); // reg_file_entry: ext
  const entry = message([1, FILE_TYPE.reg], [2, id], [3, file]); // file_entry
  const size = Buffer.alloc(4);
  size.writeUInt32LE(entry.length);
  appendFileSync(join(images, 'files.img'), Buffer.concat([size, entry]));
}

// An image begins with two magic numbers; each message has its size before it.
const MAGIC_SIZE = 8;

function firstMessage(image: Buffer): Buffer {
  const begin = MAGIC_SIZE + 4;
  return image.subarray(begin, begin + image.readUInt32LE(MAGIC_SIZE));
}

/* As much of the encoding of protocol buffers as that takes: numbers, and bytes with their length. */

const NUMBER = 0;
const BYTES = 2;

function message(...fields: readonly (readonly [field: number, value: number | Buffer])[]): Buffer {
  return Buffer.concat(
    fields.map(([field, value]) =>
      typeof value === 'number'
        ? Buffer.from([...varint((field << 3) | NUMBER), ...varint(value)])
        : Buffer.from([...varint((field << 3) | BYTES), ...varint(value.length), ...value]),
    ),
  );
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** The number in a field of a message; other fields before it may be numbers and bytes. */
function numberField(bytes: Buffer, wanted: number): number {
  let at = 0;
  const next = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number(value);
    }
  };
  while (at < bytes.length) {
    const key = next();
    const value = next();
    if (key >> 3 === wanted) return value;
    if ((key & 7) === BYTES) at += value;
  }
  throw new RangeError(`no field ${wanted} in an image of CRIU's`);
}
