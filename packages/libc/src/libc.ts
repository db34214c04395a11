import koffi from 'koffi';
import { SYS } from './syscalls.ts';

// The functions of the C library this process already runs on (glibc or musl): nothing is installed or searched for.
const lib = koffi.load(null);

const errnoLocation: () => bigint = lib.func('__errno_location', 'void *', []) as () => bigint;
// errno is per thread, and so is this module instance (worker_threads load their own).
// Reading it through a view of its address takes 2 ns and cannot itself change it.
const errnoView = new Int32Array(koffi.view(errnoLocation(), 4));

/** The calling thread's `errno`. Valid only on the line after the call that set it. */
export function errno(): number {
  return errnoView[0]!;
}

// A non-variadic prototype: 205 ns against 765 ns and more for a variadic one. Numbers, not bigints: user space
// addresses are below 2^47 and exact in a double.
type RawSyscall = (nr: number, a: number, b: number, c: number, d: number, e: number, f: number) => number;
const rawSyscall = lib.func('syscall', 'int64', Array<string>(7).fill('int64')) as RawSyscall;

/**
 * One system call, in the kernel's own convention: the result, or the negated errno.
 *
 * @param nr - number from {@link SYS}
 * @returns the result (>= 0) or -errno
 */
export function syscall(nr: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  const result = rawSyscall(nr, a, b, c, d, e, f);
  if (nr === SYS.setns || nr === SYS.unshare) changes++;
  return result === -1 ? -errnoView[0]! : result;
}

let changes = 0;

/** Grows whenever this thread may have changed its namespaces: setns(2), unshare(2). */
export function namespaceChanges(): number {
  return changes;
}

/**
 * The address of a buffer's memory. V8 does not move it afterwards; the caller keeps a reference for as long as
 * the kernel may use the address.
 */
export function addressOf(memory: Uint8Array | BigInt64Array | BigUint64Array | Int32Array | Uint32Array): number {
  return Number(koffi.address(memory));
}

/** Memory of this process that V8 does not manage; whoever has it mapped keeps it so. */
export function viewOf(address: number, size: number): ArrayBuffer {
  return koffi.view(BigInt(address), size);
}

type PosixSpawn = (
  pid: Int32Array,
  path: string,
  fileActions: Uint8Array,
  attributes: Uint8Array,
  argv: BigUint64Array,
  envp: BigUint64Array,
) => number;

/** C prototypes of the library functions that are more than a system call. */
export const libc: {
  posix_spawn: PosixSpawn;
  posix_spawn_file_actions_init: (actions: Uint8Array) => number;
  posix_spawn_file_actions_adddup2: (actions: Uint8Array, fd: number, newFd: number) => number;
  posix_spawn_file_actions_destroy: (actions: Uint8Array) => number;
  posix_spawnattr_init: (attributes: Uint8Array) => number;
  posix_spawnattr_setflags: (attributes: Uint8Array, flags: number) => number;
  posix_spawnattr_setsigmask: (attributes: Uint8Array, set: Uint8Array) => number;
  posix_spawnattr_setsigdefault: (attributes: Uint8Array, set: Uint8Array) => number;
  posix_spawnattr_destroy: (attributes: Uint8Array) => number;
} = {
  // int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const argv[], char *const envp[])
  posix_spawn: lib.func('posix_spawn', 'int', ['void *', 'str', 'void *', 'void *', 'void *', 'void *']) as PosixSpawn,
  posix_spawn_file_actions_init: lib.func('posix_spawn_file_actions_init', 'int', ['void *']),
  posix_spawn_file_actions_adddup2: lib.func('posix_spawn_file_actions_adddup2', 'int', ['void *', 'int', 'int']),
  posix_spawn_file_actions_destroy: lib.func('posix_spawn_file_actions_destroy', 'int', ['void *']),
  posix_spawnattr_init: lib.func('posix_spawnattr_init', 'int', ['void *']),
  posix_spawnattr_setflags: lib.func('posix_spawnattr_setflags', 'int', ['void *', 'short']),
  posix_spawnattr_setsigmask: lib.func('posix_spawnattr_setsigmask', 'int', ['void *', 'void *']),
  posix_spawnattr_setsigdefault: lib.func('posix_spawnattr_setsigdefault', 'int', ['void *', 'void *']),
  posix_spawnattr_destroy: lib.func('posix_spawnattr_destroy', 'int', ['void *']),
};
