import { MAP, PROT } from './constants.ts';
import { check, SpecError } from './errors.ts';
import { addressOf, syscall, viewOf } from './libc.ts';
import { SYS } from './syscalls.ts';

/** Bytes with their address: keep the object for as long as the kernel may use the address. */
export interface Memory {
  readonly bytes: Buffer;
  readonly address: number;
}

// An address keeps nothing alive: in compiled code the last JavaScript use of a buffer is over before the system call
// that was given its address, and the collector may run in between. So the latest stay referenced a little longer.
const latest: Buffer[] = [];
const LATEST = 16; // more than any one call is given
let turn = 0;

/** Zeroed memory of its own (never a slice of Node's buffer pool). */
export function allocate(size: number): Memory {
  const bytes = Buffer.from(new ArrayBuffer(Math.max(size, 1)), 0, size);
  latest[turn++ % LATEST] = bytes;
  return { bytes, address: addressOf(bytes) };
}

/**
 * A NUL-terminated copy of a string.
 *
 * @throws SpecError when the text itself contains a NUL byte: the kernel would see only what stands before it
 */
export function cString(text: string | Uint8Array, field = 'path'): Memory {
  const source = typeof text === 'string' ? Buffer.from(text) : text;
  if (source.includes(0))
    throw new SpecError(
      field,
      'text without NUL bytes',
      typeof text === 'string' ? text : Buffer.from(text).toString(),
    );
  const memory = allocate(source.length + 1);
  memory.bytes.set(source);
  return memory;
}

/**
 * Maps the beginning of a file, shared with whoever else has it mapped: mmap(2). It belongs to the process: it stays when the
 * thread ends, until munmap(2).
 */
export function mapShared(fd: number, size: number): Memory {
  const address = check('mmap', syscall(SYS.mmap, 0, size, PROT.READ | PROT.WRITE, MAP.SHARED, fd, 0));
  return { bytes: Buffer.from(viewOf(address, size)), address };
}
