import { allocate, check, ERRNO, SYS, syscall } from '@ns/libc';

const PAGE = 4096n;

/**
 * Copies from another process's memory: process_vm_readv(2), which needs the right to trace it (same user, or CAP_SYS_PTRACE;
 * `kernel.yama.ptrace_scope` may ask for more).
 *
 * @returns what could be read before the first page that is not there: shorter than `length`, or empty
 */
export function readMemory(pid: number, address: bigint, length: number): Buffer {
  const local = allocate(length);
  const result = transfer(SYS.process_vm_readv, pid, local.address, address, length);
  if (result === -ERRNO.EFAULT) return Buffer.alloc(0);
  check('process_vm_readv', result, { doing: `reading memory of process ${pid}`, hint: TRACE_HINT });
  return local.bytes.subarray(0, result);
}

/** Copies into another process's memory: process_vm_writev(2). Returns how much could be written. */
export function writeMemory(pid: number, address: bigint, bytes: Uint8Array): number {
  const local = allocate(bytes.length);
  local.bytes.set(bytes);
  const result = transfer(SYS.process_vm_writev, pid, local.address, address, bytes.length);
  if (result === -ERRNO.EFAULT) return 0;
  return check('process_vm_writev', result, { doing: `writing memory of process ${pid}`, hint: TRACE_HINT });
}

/** Bytes up to the first NUL, or `undefined` when there is none within `maxBytes` or the memory ends before. Reads page by page: a string may end right before a hole. */
export function readCString(pid: number, address: bigint, maxBytes: number): Buffer | undefined {
  const parts: Buffer[] = [];
  for (let at = address, left = maxBytes; left > 0; ) {
    const length = Math.min(left, Number(PAGE - (at % PAGE)));
    const part = readMemory(pid, at, length);
    const end = part.indexOf(0);
    if (end >= 0) return Buffer.concat([...parts, part.subarray(0, end)]);
    if (part.length < length) return undefined;
    parts.push(part);
    at += BigInt(length);
    left -= length;
  }
  return undefined;
}

const TRACE_HINT =
  'It needs the right to trace the process: the same user and a dumpable process, or CAP_SYS_PTRACE; see also sysctl kernel.yama.ptrace_scope';

function transfer(nr: number, pid: number, local: number, remote: bigint, length: number): number {
  // Two struct iovec, ours and theirs.
  const vectors = allocate(32);
  vectors.bytes.writeBigUInt64LE(BigInt(local), 0);
  vectors.bytes.writeBigUInt64LE(BigInt(length), 8);
  vectors.bytes.writeBigUInt64LE(remote, 16);
  vectors.bytes.writeBigUInt64LE(BigInt(length), 24);
  return syscall(nr, pid, vectors.address, 1, vectors.address + 16, 1, 0);
}
