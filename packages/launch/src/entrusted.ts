import { basename, dirname, isAbsolute } from 'node:path';
import { SpecError } from '@ns/libc';

/* The wire format between a thread and its caretaker: messages with records in them, each with what is to be removed. */

/** What is on the machine besides processes, and would stay there when its owner dies. Paths are absolute. */
export interface Belongings {
  /**
   * Netlink messages that take something out of the kernel: each sent alone, in order, whatever became of those before. They are
   * for the network namespace in which this thread is now; while it is in another, nobody sends them.
   */
  readonly requests?: readonly {
    /** `NETLINK_ROUTE` (0), `NETLINK_NETFILTER` (12), … */
    readonly protocol: number;
    /** At most 8,000 bytes. */
    readonly message: Buffer;
  }[];
  /** The same, for what others use, too, until the requests of all have been sent. Equal ones of one thread are sent once. */
  readonly lastRequests?: Belongings['requests'];
  readonly files?: readonly string[];
  /** Symbolic links, each with the text in it: one with another text is somebody else's, and stays. */
  readonly links?: readonly { readonly path: string; readonly target: string }[];
  /** Directories of cgroups: what still runs in them is killed, and what was made in them goes first. */
  readonly cgroups?: readonly string[];
  /** Directories with nothing but files in them. */
  readonly directories?: readonly string[];
  /** Directories that may be in use by others: tried once. */
  readonly parents?: readonly string[];
}

/** In the order in which they are removed; 0 stands for the end of a message. */
export const kinds = {
  requests: 1,
  lastRequests: 2,
  files: 3,
  links: 4,
  cgroups: 5,
  directories: 6,
  parents: 7,
} as const;

/** How many messages a caretaker remembers. */
export const PLACES = 4096;
/** Of a message: room for two of the longest paths, less some bytes. Only what is used of it takes memory. */
export const PLACE_SIZE = 8192;
/** Where in the memory a message goes, and its size. */
export const HEAD_SIZE = 16;
/**
 * Four words: kind; size of the whole; size of the data; of a request its protocol, of a link where behind its directory its
 * name is. Then come the data, and a path.
 */
export const RECORD_HEAD_SIZE = 32;
const END_SIZE = 8;
const ROOM = PLACE_SIZE - 1 - HEAD_SIZE - END_SIZE;

/** What takes this place from now on. */
export function placeMessage(place: number, records: readonly Buffer[] = []): Buffer {
  const head = Buffer.alloc(HEAD_SIZE);
  const message = Buffer.concat([head, ...records, Buffer.alloc(END_SIZE)]);
  message.writeUInt32LE(place * PLACE_SIZE);
  message.writeUInt32LE(message.length, 8);
  return message;
}

/** Those that mean the same in another network namespace. */
export function withoutRequests(records: readonly Buffer[]): Buffer[] {
  const isRequest = (kind: number) => kind === kinds.requests || kind === kinds.lastRequests;
  return records.filter((one) => !isRequest(one.readUInt32LE()));
}

/**
 * The records of messages, each as long as there is room.
 *
 * @throws SpecError a relative path, one with a NUL, or what is too large
 */
export function recordsOf(belongings: Belongings): Buffer[][] {
  const messages: Buffer[][] = [];
  let left = 0;
  for (const record of recordsInOrder(belongings)) {
    if (record.length > left) {
      messages.push([]);
      left = ROOM;
    }
    messages.at(-1)!.push(record);
    left -= record.length;
  }
  return messages;
}

function recordsInOrder(belongings: Belongings): Buffer[] {
  const { links = [] } = belongings;
  const requests = (kind: 'requests' | 'lastRequests') =>
    (belongings[kind] ?? []).map(({ protocol, message }, i) =>
      record(kind, `${kind}[${i}].message`, { data: message, argument: protocol }),
    );
  const paths = (kind: 'files' | 'cgroups' | 'directories' | 'parents') =>
    (belongings[kind] ?? []).map((path, i) => record(kind, `${kind}[${i}]`, { path }));
  return [
    ...requests('requests'),
    ...requests('lastRequests'),
    ...paths('files'),
    ...links.map(({ path, target }, i) => {
      const argument = Buffer.byteLength(dirname(path)) + 1;
      return record('links', `links[${i}].path`, { path, data: Buffer.from(target), argument });
    }),
    ...paths('cgroups'),
    ...paths('directories'),
    ...paths('parents'),
  ];
}

function record(
  kind: keyof typeof kinds,
  field: string,
  { path, data = nothing, argument = 0 }: { path?: string; data?: Buffer; argument?: number },
): Buffer {
  if (path !== undefined && (!isAbsolute(path) || path.includes('\0')))
    throw new SpecError(field, 'an absolute path without NUL bytes', path);
  const pathAt = RECORD_HEAD_SIZE + data.length;
  const text = path === undefined ? '' : kind === 'links' ? `${dirname(path)}\0${basename(path)}` : path;
  const size = (pathAt + Buffer.byteLength(text) + 8) & ~7;
  if (size > ROOM) throw new SpecError(field, `at most ${ROOM - RECORD_HEAD_SIZE - 8} bytes`, path ?? data);
  const bytes = Buffer.alloc(size);
  [kinds[kind], size, data.length, argument].forEach((value, i) => void bytes.writeUInt32LE(value, 8 * i));
  data.copy(bytes, RECORD_HEAD_SIZE);
  bytes.write(text, pathAt);
  return bytes;
}

const nothing = Buffer.alloc(0);
