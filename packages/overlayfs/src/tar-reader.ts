import { decodeFileName, S } from '@ns/libc';
import { ArchiveError } from './archive-error.ts';
import { isId } from './owner.ts';
import {
  BLOCK,
  checksum,
  decodeXattrName,
  field,
  getBytes,
  getNumber,
  modeOfType,
  padding,
  parsePax,
  parsePaxTime,
  TYPE,
} from './tar-format.ts';

/** One member of an archive. */
export interface TarMember {
  /** As it stands in the archive; nothing has been checked. */
  readonly path: string;
  readonly type: string;
  /** Permissions and, but for hard links, the file type. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content that follow. */
  readonly size: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly linkName: string;
  readonly devMajor: number;
  readonly devMinor: number;
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

/** Receives an archive as it is read. */
export interface TarSink {
  /** A new member; its content comes next, if it has any. */
  member(member: TarMember): void;
  /** How long a header is that says more of a member, or of all that follow. */
  extension(length: number): void;
  /** A piece of its content. The bytes are valid during the call only. */
  content(bytes: Buffer): void;
  /** The content is complete. */
  memberEnd(): void;
}

const emptyBlock = Buffer.alloc(BLOCK);
const noRecords: ReadonlyMap<string, Buffer> = new Map();

// Names, links and attributes of one file: 64 KiB of attributes at most per name space, 4 KiB paths.
const MAX_EXTENSION = 1024 * 1024;
/** What a global header can say here. No more is kept of it: an archive may have any number of them. */
const globalKeys: ReadonlySet<string> = new Set(['path', 'linkpath', 'size', 'uid', 'gid', 'mtime']);
const XATTR_KEY = 'SCHILY.xattr.';

const extensions: ReadonlySet<string> = new Set([TYPE.PAX, TYPE.PAX_GLOBAL, TYPE.GNU_LONG_NAME, TYPE.GNU_LONG_LINK]);

/**
 * A tar parser that is fed chunks of any size and pushes members and content to a sink at once: no copies of content, no
 * queue. Reads ustar, pax, GNU long names and base-256 numbers, and V7.
 */
export class TarReader {
  readonly #sink: TarSink;
  /** A header or extension that came in pieces. */
  #pending = Buffer.alloc(0);
  #state: 'header' | 'extension' | 'content' | 'padding' | 'end' = 'header';
  /** Bytes left of the state. */
  #left = 0;
  #padding = 0;
  #extensionType = '';
  #globals = new Map<string, Buffer>();
  #records = noRecords;
  #longName: Buffer | undefined;
  #longLink: Buffer | undefined;
  #emptyBlocks = 0;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** Reads on. @throws ArchiveError ERR_NS_BAD_ARCHIVE */
  write(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && this.#state !== 'end'; ) {
      if (this.#state === 'content') {
        const length = Math.min(this.#left, chunk.length - at);
        this.#sink.content(chunk.subarray(at, at + length));
        at += length;
        this.#left -= length;
        if (this.#left === 0) this.#endContent();
      } else if (this.#state === 'padding') {
        const length = Math.min(this.#left, chunk.length - at);
        at += length;
        this.#left -= length;
        if (this.#left === 0) this.#state = 'header';
      } else {
        const wanted = this.#state === 'header' ? BLOCK : this.#left;
        const length = Math.min(wanted - this.#pending.length, chunk.length - at);
        const piece = chunk.subarray(at, at + length);
        const block = this.#pending.length === 0 ? piece : Buffer.concat([this.#pending, piece]);
        at += length;
        if (block.length < wanted) {
          this.#pending = Buffer.from(block);
          continue;
        }
        this.#pending = Buffer.alloc(0);
        if (this.#state === 'header') this.#header(block);
        else this.#extension(block);
      }
    }
  }

  /** No more comes. @throws ArchiveError when something is missing; the two empty blocks at the end may be */
  end(): void {
    if (this.#state === 'end' || (this.#state === 'header' && this.#pending.length === 0)) return;
    throw new ArchiveError('ERR_NS_BAD_ARCHIVE', 'the archive is cut short');
  }

  #header(block: Buffer): void {
    if (block[0] === 0 && block.equals(emptyBlock)) {
      if (++this.#emptyBlocks === 2) this.#state = 'end';
      return;
    }
    this.#emptyBlocks = 0;
    if (getNumber(block, 'checksum') !== checksum(block)) {
      throw new ArchiveError(
        'ERR_NS_BAD_ARCHIVE',
        'this is no tar archive, or it is damaged: a header has a wrong checksum',
        { hint: 'Decompress it first' },
      );
    }
    const type = String.fromCharCode(block[field.type[0]] || 0x30);
    const size = number(block, 'size');
    if (extensions.has(type)) {
      if (size > MAX_EXTENSION)
        throw new ArchiveError('ERR_NS_ARCHIVE_TOO_LARGE', `an extended header of ${size} bytes`);
      this.#sink.extension(size);
      this.#extensionType = type;
      this.#left = size;
      this.#padding = padding(size);
      if (size === 0) this.#extension(Buffer.alloc(0));
      else this.#state = 'extension';
      return;
    }
    this.#begin(this.#describe(block, type, size));
  }

  #extension(data: Buffer): void {
    const bytes = Buffer.from(data);
    if (this.#extensionType === TYPE.GNU_LONG_NAME) this.#longName = untilNul(bytes);
    else if (this.#extensionType === TYPE.GNU_LONG_LINK) this.#longLink = untilNul(bytes);
    else {
      const records = parsePax(bytes);
      if (!records) throw new ArchiveError('ERR_NS_BAD_ARCHIVE', 'malformed pax header');
      if (this.#extensionType === TYPE.PAX) this.#records = records;
      else for (const [key, value] of records) if (globalKeys.has(key)) this.#globals.set(key, value);
    }
    this.#skip(this.#padding);
  }

  #describe(block: Buffer, type: string, headerSize: number): TarMember {
    // An empty value takes back what a global header said.
    const record = (key: string): Buffer | undefined => {
      const value = this.#records.get(key) ?? this.#globals.get(key);
      return value?.length ? value : undefined;
    };
    const decimal = (key: string, header: number): number => {
      const value = record(key);
      if (value === undefined) return header;
      const text = value.toString('latin1');
      if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(Number(text)))
        throw new ArchiveError('ERR_NS_BAD_ARCHIVE', `pax ${key} is no number`);
      return Number(text);
    };
    const id = (key: 'uid' | 'gid'): number => {
      const value = decimal(key, number(block, key));
      if (!isId(value))
        throw new ArchiveError('ERR_NS_BAD_ARCHIVE', `${key} ${value} is none that a file can have`, { path });
      return value;
    };
    const path = decodeFileName(record('path') ?? this.#longName ?? nameOf(block));
    if (type === TYPE.GNU_SPARSE || hasKey(this.#records, 'GNU.sparse.')) {
      throw new ArchiveError('ERR_NS_BAD_ARCHIVE', 'sparse members are not part of the OCI layer format', {
        path,
        hint: 'Make the archive without --sparse',
      });
    }
    const time = record('mtime');
    const mtime = time ? parsePaxTime(time.toString('latin1')) : { sec: number(block, 'mtime'), nsec: 0 };
    if (!mtime) throw new ArchiveError('ERR_NS_BAD_ARCHIVE', 'pax mtime is no time', { path });
    // In V7 archives a directory is a file whose name ends in a slash.
    const kind = type === TYPE.FILE && path.endsWith('/') ? TYPE.DIRECTORY : type;
    const fileType = modeOfType[kind] ?? (kind === TYPE.HARD_LINK ? 0 : undefined);
    if (fileType === undefined)
      throw new ArchiveError('ERR_NS_BAD_ARCHIVE', `unknown member type ${JSON.stringify(type)}`, { path });
    // The pax size counts, for every kind of member: two readers that disagree here see two different archives (CVE-2025-62518).
    const size = decimal('size', headerSize);
    return {
      path,
      type: kind,
      mode: (number(block, 'mode') & 0o7777) | fileType,
      uid: id('uid'),
      gid: id('gid'),
      size: fileType === S.IFREG ? size : refuseContent(path, kind, size),
      mtimeSec: mtime.sec,
      mtimeNsec: mtime.nsec,
      linkName: decodeFileName(record('linkpath') ?? this.#longLink ?? getBytes(block, 'linkName')),
      devMajor: number(block, 'devMajor'),
      devMinor: number(block, 'devMinor'),
      xattrs: xattrsOf(this.#records),
    };
  }

  #begin(member: TarMember): void {
    this.#records = noRecords;
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#sink.member(member);
    this.#left = member.size;
    this.#padding = padding(member.size);
    this.#state = 'content';
    if (member.size === 0) this.#endContent();
  }

  #endContent(): void {
    this.#sink.memberEnd();
    this.#skip(this.#padding);
  }

  #skip(length: number): void {
    this.#left = length;
    this.#state = length === 0 ? 'header' : 'padding';
  }
}

function hasKey(records: ReadonlyMap<string, Buffer>, prefix: string): boolean {
  for (const key of records.keys()) if (key.startsWith(prefix)) return true;
  return false;
}

function xattrsOf(records: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Buffer> {
  if (!hasKey(records, XATTR_KEY)) return noRecords;
  const xattrs = [...records].filter(([key]) => key.startsWith(XATTR_KEY));
  return new Map(xattrs.map(([key, value]) => [decodeXattrName(key.slice(XATTR_KEY.length)), value]));
}

const untilNul = (bytes: Buffer): Buffer => (bytes.includes(0) ? bytes.subarray(0, bytes.indexOf(0)) : bytes);

function nameOf(block: Buffer): Buffer {
  const name = getBytes(block, 'name');
  const [start] = field.magic;
  // GNU's own magic has spaces there, and other things in the place of the prefix.
  const hasPrefix = block[field.prefix[0]] !== 0 && block.toString('latin1', start, start + 6) === 'ustar\0';
  return hasPrefix ? Buffer.concat([getBytes(block, 'prefix'), Buffer.from('/'), name]) : name;
}

function number(block: Buffer, which: Parameters<typeof getNumber>[1]): number {
  const value = getNumber(block, which);
  if (value === undefined || (value < 0 && which !== 'mtime'))
    throw new ArchiveError('ERR_NS_BAD_ARCHIVE', `header field ${which} is no number`);
  return value;
}

/** Some archivers give hard links and directories a size; none of them means content, and guessing is how readers come to disagree. */
function refuseContent(path: string, type: string, size: number): 0 {
  if (size === 0 || type === TYPE.HARD_LINK || type === TYPE.DIRECTORY) return 0;
  throw new ArchiveError('ERR_NS_BAD_ARCHIVE', `a member of type ${type} with ${size} bytes of content`, { path });
}
