import {
  AF,
  AT_EMPTY_PATH,
  AT_FDCWD,
  F,
  FSCONFIG,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MFD,
  MOVE_MOUNT,
  MSG,
  O,
  OPEN_TREE_CLOEXEC,
  SCM_RIGHTS,
  SOCK,
  SOL_SOCKET,
} from './constants.ts';
import { ERRNO } from './errno.ts';
import { check } from './errors.ts';
import { OwnedFd } from './fd.ts';
import { addressOf, syscall } from './libc.ts';
import { allocate, cString } from './memory.ts';
import { SYS } from './syscalls.ts';

/* Thin wrappers: convert, call, own the result. Each throws SyscallError. Every descriptor is close-on-exec. */

/** openat(2). `dirFd` defaults to the working directory. */
export function open(path: string, flags: number, options: { dirFd?: number; mode?: number } = {}): OwnedFd {
  const name = cString(path);
  return new OwnedFd(
    check(
      'openat',
      syscall(SYS.openat, options.dirFd ?? AT_FDCWD, name.address, flags | O.CLOEXEC, options.mode ?? 0),
      { path },
    ),
  );
}

/**
 * openat2(2), since 5.6: open with rules for how the path may resolve. Retried when a concurrent rename makes an
 * in-root resolution undecidable (EAGAIN), as the man page asks.
 *
 * @param options.resolve - bits of {@link RESOLVE}
 */
export function openat2(
  dirFd: number,
  path: string,
  options: { flags: number; mode?: number; resolve: number },
): OwnedFd {
  const name = cString(path);
  const how = allocate(24);
  how.bytes.writeBigUInt64LE(BigInt(options.flags | O.CLOEXEC), 0);
  how.bytes.writeBigUInt64LE(BigInt(options.mode ?? 0), 8);
  how.bytes.writeBigUInt64LE(BigInt(options.resolve), 16);
  for (let attempt = 0; ; attempt++) {
    const result = syscall(SYS.openat2, dirFd, name.address, how.address, 24);
    if (result === -ERRNO.EAGAIN && attempt < 128) continue;
    return new OwnedFd(check('openat2', result, { path }));
  }
}

/** Where the kernel puts two descriptors. */
const pair = allocate(8);
const first = () => new OwnedFd(pair.bytes.readInt32LE(0));
const second = () => new OwnedFd(pair.bytes.readInt32LE(4));

/** pipe2(2). */
export function pipe(flags = 0): { read: OwnedFd; write: OwnedFd } {
  check('pipe2', syscall(SYS.pipe2, pair.address, flags | O.CLOEXEC));
  return { read: first(), write: second() };
}

/** socketpair(2) of AF_UNIX. */
export function socketPair(type: number): [OwnedFd, OwnedFd] {
  check('socketpair', syscall(SYS.socketpair, AF.UNIX, type | SOCK.CLOEXEC, 0, pair.address));
  return [first(), second()];
}

/** read(2) into `bytes`; the number of bytes, or a negated errno. */
export function readInto(fd: number, bytes: Uint8Array): number {
  return syscall(SYS.read, fd, addressOf(bytes), bytes.byteLength);
}

/** write(2); returns how many bytes were taken, all of a small message. */
export function write(fd: number, bytes: Uint8Array): number {
  return check('write', syscall(SYS.write, fd, addressOf(bytes), bytes.byteLength));
}

/** sendmsg(2) of a short message with descriptors (SCM_RIGHTS), which stay the caller's as well. */
export function sendDescriptors(socket: number, message: Uint8Array, descriptors: readonly number[]): void {
  const iov = allocate(16);
  iov.bytes.writeBigUInt64LE(BigInt(addressOf(message)), 0);
  iov.bytes.writeBigUInt64LE(BigInt(message.length), 8);
  const control = allocate(16 + 8 * Math.ceil(descriptors.length / 2)); // struct cmsghdr, then the descriptors
  control.bytes.writeBigUInt64LE(BigInt(16 + 4 * descriptors.length), 0);
  control.bytes.writeInt32LE(SOL_SOCKET, 8);
  control.bytes.writeInt32LE(SCM_RIGHTS, 12);
  for (const [i, descriptor] of descriptors.entries()) control.bytes.writeInt32LE(descriptor, 16 + 4 * i);
  const header = allocate(56); // struct msghdr
  header.bytes.writeBigUInt64LE(BigInt(iov.address), 16);
  header.bytes.writeBigUInt64LE(1n, 24);
  header.bytes.writeBigUInt64LE(BigInt(control.address), 32);
  header.bytes.writeBigUInt64LE(BigInt(control.bytes.length), 40);
  check('sendmsg', syscall(SYS.sendmsg, socket, header.address, MSG.NOSIGNAL));
}

/** What {@link receive} got. */
export interface ReceivedMessage {
  readonly bytes: Buffer;
  readonly fds: readonly OwnedFd[];
}

/**
 * recvmsg(2) without waiting, with the descriptors that came along (SCM_RIGHTS).
 *
 * @returns `undefined` when nothing is there now; empty `bytes` at the end of the connection
 */
export function receive(fd: number, maxBytes: number, maxFds = 0): ReceivedMessage | undefined {
  const data = allocate(maxBytes);
  const control = allocate(maxFds > 0 ? 16 + 8 * Math.ceil(maxFds / 2) : 0);
  const iov = allocate(16);
  iov.bytes.writeBigUInt64LE(BigInt(data.address), 0);
  iov.bytes.writeBigUInt64LE(BigInt(maxBytes), 8);
  const header = allocate(56);
  header.bytes.writeBigUInt64LE(BigInt(iov.address), 16);
  header.bytes.writeBigUInt64LE(1n, 24);
  if (maxFds > 0) {
    header.bytes.writeBigUInt64LE(BigInt(control.address), 32);
    header.bytes.writeBigUInt64LE(BigInt(control.bytes.length), 40);
  }
  const take = () => syscall(SYS.recvmsg, fd, header.address, MSG.DONTWAIT | MSG.CMSG_CLOEXEC);
  let count = take();
  // A peer that has ended without having read what we sent: that is told first, and once; what it sent comes after.
  if (count === -ERRNO.ECONNRESET) count = take();
  if (count === -ERRNO.EAGAIN) return undefined;
  if (count === -ERRNO.ECONNRESET) return { bytes: Buffer.alloc(0), fds: [] };
  check('recvmsg', count);
  const fds: OwnedFd[] = [];
  const controlLength = Number(header.bytes.readBigUInt64LE(40));
  if (
    controlLength >= 20 &&
    control.bytes.readInt32LE(8) === SOL_SOCKET &&
    control.bytes.readInt32LE(12) === SCM_RIGHTS
  ) {
    const end = Number(control.bytes.readBigUInt64LE(0));
    for (let at = 16; at + 4 <= end; at += 4) fds.push(new OwnedFd(control.bytes.readInt32LE(at)));
  }
  return { bytes: data.bytes.subarray(0, count), fds };
}

/** memfd_create(2) holding `content`, executable, sealed against every change when `seals` are given. */
export function memfd(
  name: string,
  content: Uint8Array,
  options: { executable?: boolean; seals?: number } = {},
): OwnedFd {
  const label = cString(name, 'name');
  const flags = MFD.CLOEXEC | MFD.ALLOW_SEALING;
  // Both are since 6.3 and EINVAL before, when every memfd was executable. A kernel with vm.memfd_noexec=2 wants to be told.
  let fd = syscall(SYS.memfd_create, label.address, flags | (options.executable ? MFD.EXEC : MFD.NOEXEC_SEAL));
  if (fd === -ERRNO.EINVAL) fd = syscall(SYS.memfd_create, label.address, flags);
  const owned = new OwnedFd(check('memfd_create', fd));
  try {
    for (let done = 0; done < content.length; ) done += write(owned.fd, content.subarray(done));
    if (options.seals) check('fcntl', syscall(SYS.fcntl, owned.fd, F.ADD_SEALS, options.seals));
    return owned;
  } catch (error) {
    owned.close();
    throw error;
  }
}

/** eventfd2(2), 0 at first, and non-blocking. */
export function eventfd(): OwnedFd {
  return new OwnedFd(check('eventfd2', syscall(SYS.eventfd2, 0, O.CLOEXEC | O.NONBLOCK)));
}

/** pidfd_open(2), since 5.3. */
export function pidfdOpen(pid: number): OwnedFd {
  return new OwnedFd(check('pidfd_open', syscall(SYS.pidfd_open, pid, 0)));
}

/** pidfd_send_signal(2), since 5.1. Returns false when the process is gone. */
export function pidfdSendSignal(pidfd: number, signal: number): boolean {
  const result = syscall(SYS.pidfd_send_signal, pidfd, signal, 0, 0);
  if (result === -ERRNO.ESRCH) return false;
  check('pidfd_send_signal', result);
  return true;
}

/**
 * setns(2). In Node only network, IPC, UTS, cgroup and (for children) pid and time namespaces can be joined, and only
 * for the calling thread.
 */
export function setns(fd: number, kinds: number): void {
  check('setns', syscall(SYS.setns, fd, kinds));
}

/** ioctl(2) with a number or an address as argument; the result or a negated errno. */
export function ioctl(fd: number, request: number, argument = 0): number {
  return syscall(SYS.ioctl, fd, request, argument);
}

/** fsopen(2), since 5.2: a context in which a file system is configured. */
export function fsopen(type: string): OwnedFd {
  return new OwnedFd(
    check('fsopen', syscall(SYS.fsopen, cString(type, 'type').address, FSOPEN_CLOEXEC), { args: { type } }),
  );
}

/** fsconfig(2) with a string value, or a flag when there is none. */
export function fsconfig(context: number, key: string, value?: string): void {
  const name = cString(key, 'key');
  const text = value === undefined ? undefined : cString(value, key);
  check(
    'fsconfig',
    syscall(SYS.fsconfig, context, text ? FSCONFIG.SET_STRING : FSCONFIG.SET_FLAG, name.address, text?.address ?? 0, 0),
    { args: { key, value } },
  );
}

/** fsconfig(FSCONFIG_CMD_CREATE): make the superblock. */
export function fsconfigCreate(context: number): void {
  check('fsconfig', syscall(SYS.fsconfig, context, FSCONFIG.CMD_CREATE, 0, 0, 0));
}

/** fsmount(2): a detached mount of a configured context. `attributes` are bits of {@link MOUNT_ATTR}. */
export function fsmount(context: number, attributes = 0): OwnedFd {
  return new OwnedFd(check('fsmount', syscall(SYS.fsmount, context, FSMOUNT_CLOEXEC, attributes)));
}

/** open_tree(2), since 5.2. With OPEN_TREE_CLONE the result is a detached copy of the mount. */
export function openTree(dirFd: number, path: string, flags: number): OwnedFd {
  return new OwnedFd(
    check('open_tree', syscall(SYS.open_tree, dirFd, cString(path).address, flags | OPEN_TREE_CLOEXEC), { path }),
  );
}

/** move_mount(2) of a mount given by descriptor onto a place given by descriptor: no path can be swapped under us. */
export function moveMount(from: number, to: number): void {
  const empty = cString('');
  check(
    'move_mount',
    syscall(SYS.move_mount, from, empty.address, to, empty.address, MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_EMPTY_PATH),
  );
}

/** mount_setattr(2), since 5.12, on a mount given by descriptor. */
export function mountSetattr(
  fd: number,
  attributes: { set?: number; clear?: number; propagation?: number; userNamespace?: number },
  flags = 0,
): void {
  const attr = allocate(32);
  attr.bytes.writeBigUInt64LE(BigInt(attributes.set ?? 0), 0);
  attr.bytes.writeBigUInt64LE(BigInt(attributes.clear ?? 0), 8);
  attr.bytes.writeBigUInt64LE(BigInt(attributes.propagation ?? 0), 16);
  attr.bytes.writeBigUInt64LE(BigInt(attributes.userNamespace ?? 0), 24);
  check('mount_setattr', syscall(SYS.mount_setattr, fd, cString('').address, AT_EMPTY_PATH | flags, attr.address, 32));
}

/** mount(2). */
export function mount(source: string, target: string, type: string, flags: number, data = ''): void {
  const [from, to, kind, text] = [
    cString(source, 'source'),
    cString(target, 'target'),
    cString(type, 'type'),
    cString(data, 'options'),
  ];
  check('mount', syscall(SYS.mount, from.address, to.address, kind.address, flags, text.address), {
    path: source,
    dest: target,
    args: { type, flags, data },
  });
}

/** umount2(2). */
export function umount(target: string, flags = 0): void {
  check('umount2', syscall(SYS.umount2, cString(target, 'target').address, flags), { path: target });
}

/** The magic number (`f_type`) of the file system behind a descriptor: fstatfs(2). */
export function fileSystemMagic(fd: number): number {
  const buffer = allocate(120);
  check('fstatfs', syscall(SYS.fstatfs, fd, buffer.address));
  return Number(buffer.bytes.readBigInt64LE(0));
}

/** Takes the exclusive lock of an open file or directory, unless somebody else has it: flock(2). Closing gives it back. */
export function tryLock(fd: number): boolean {
  const result = syscall(SYS.flock, fd, LOCK_EX | LOCK_NB);
  if (result === -ERRNO.EAGAIN || result === -ERRNO.EINTR) return false;
  check('flock', result);
  return true;
}

const LOCK_EX = 2; // <sys/file.h>
const LOCK_NB = 4;

/**
 * Takes the exclusive lock of one byte of a file, which need not have it, unless another descriptor has that one: fcntl(2),
 * F_OFD_SETLK, since 3.15. One file holds locks for any number of names that way. Closing gives it back; so does the kernel
 * when the holder dies.
 *
 * @param fd - open for writing
 * @param offset - which byte, below 2^63
 */
export function tryLockByte(fd: number, offset: bigint): boolean {
  const lock = allocate(32); // struct flock
  lock.bytes.writeInt16LE(F_WRLCK, 0);
  lock.bytes.writeBigInt64LE(offset, 8);
  lock.bytes.writeBigInt64LE(1n, 16);
  const result = syscall(SYS.fcntl, fd, F_OFD_SETLK, lock.address);
  if (result === -ERRNO.EAGAIN || result === -ERRNO.EACCES) return false;
  check('fcntl', result);
  return true;
}

const F_WRLCK = 1; // <fcntl.h>
const F_OFD_SETLK = 37;

/** Ends the process by SIGABRT, also from a worker: for when whatever this thread did next would be done to the wrong thing. */
export function abortProcess(): void {
  // To this very thread, so that it does not run on until another one has received the signal.
  syscall(SYS.tgkill, process.pid, syscall(SYS.gettid), SIGABRT);
}

const SIGABRT = 6; // <signal.h>

/**
 * Id of the calling thread: gettid(2). On the main thread it is the process's. `/proc/ID` exists as long as the thread does,
 * so it tells whether a worker that owned something is still there.
 */
export function threadPid(): number {
  return syscall(SYS.gettid);
}

/** prctl(2); the result or a negated errno. */
export function prctl(option: number, a = 0, b = 0, c = 0, d = 0): number {
  return syscall(SYS.prctl, option, a, b, c, d);
}
