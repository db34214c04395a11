import { isMainThread } from 'node:worker_threads';
import { addressOf, allocate, cString, libc, SyscallError } from '@ns/libc';
import { childTable } from './child-table.ts';

const POSIX_SPAWN_SETSIGDEF = 4;
const POSIX_SPAWN_SETSIGMASK = 8;

// glibc: posix_spawnattr_t has 336 bytes, posix_spawn_file_actions_t 80. Larger memory does for musl too.
const attributes = allocate(512).bytes;
const fileActions = allocate(256).bytes;
const allSignals = allocate(128).bytes.fill(0xff);
const ownPid = new Int32Array(1);

libc.posix_spawnattr_init(attributes);
libc.posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
// Node ignores SIGPIPE and SIGXFSZ, which would survive execve.
libc.posix_spawnattr_setsigdefault(attributes, allSignals);
// All blocked from the first instruction: a signal that arrives during the setup waits for the supervisor.
libc.posix_spawnattr_setsigmask(attributes, allSignals);

const emptyEnvironment = new BigUint64Array(1);

/**
 * posix_spawn(3) of a program with an empty environment, all signals blocked and at their default, and exactly the given
 * descriptors. glibc makes the child with CLONE_VM | CLONE_VFORK and runs no code of ours in it.
 *
 * @param executable - descriptor of the program, which is executed through /proc/self/fd
 * @param fds - index: number in the child; value: number here. Each becomes inheritable in the child only.
 * @returns the pid, which the caller must wait for
 */
export function posixSpawn(executable: number, name: string, fds: readonly number[]): number {
  const argument = cString(name, 'name');
  const argv = BigUint64Array.of(BigInt(argument.address), 0n);
  libc.posix_spawn_file_actions_init(fileActions);
  try {
    // A source number that is also a target would be overwritten before its turn: move those out of the way first.
    const needed = new Set([executable, ...fds]);
    let spare = fds.length;
    const aside = (fd: number): number => {
      while (needed.has(spare)) spare++;
      duplicate(fd, spare);
      return spare++;
    };
    const sources = fds.map((fd, target) => (fd !== target && fd < fds.length ? aside(fd) : fd));
    const path = `/proc/self/fd/${executable < fds.length ? aside(executable) : executable}`;
    sources.forEach(duplicate);
    const slot = isMainThread ? undefined : childTable().reserve();
    const pid = isMainThread ? ownPid : childTable().word(slot);
    const error = libc.posix_spawn(pid, path, fileActions, attributes, argv, emptyEnvironment);
    if (error !== 0 && slot) childTable().giveBack(slot);
    if (error !== 0) throw new SyscallError('posix_spawn', error, { path });
    return pid[0]!;
  } finally {
    libc.posix_spawn_file_actions_destroy(fileActions);
    addressOf(argument.bytes); // keeps the argument alive until here
  }
}

function duplicate(fd: number, to: number): void {
  const error = libc.posix_spawn_file_actions_adddup2(fileActions, fd, to);
  // EBADF: a number beyond RLIMIT_NOFILE. Without the action the child would find whatever else it inherits there.
  if (error !== 0) throw new SyscallError('posix_spawn', error, { doing: `handing over descriptor ${fd}` });
}
