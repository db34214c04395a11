import {
  allocate,
  check,
  ERRNO,
  errnoName,
  ioctl,
  type Memory,
  O,
  type OwnedFd,
  POLLIN,
  SECCOMP,
  SYS,
  syscall,
  UnavailableError,
} from '@ns/libc';

/** ioctl numbers of a listener, `<linux/seccomp.h>`: direction, size of the argument, '!', number. */
const IOCTL = {
  RECV: 0xc0502100,
  SEND: 0xc0182101,
  ID_VALID: 0x40082102, // since 5.0; what 5.17 calls by this number was misnumbered before 5.2
  ADDFD: 0x40182103, // since 5.9
} as const;

const SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1;
const ADDFD_FLAG = { SETFD: 1, SEND: 2 } as const;

/** `struct seccomp_notif`. */
export interface Notification {
  readonly id: bigint;
  /** Thread that made the call, as this process's pid namespace counts; 0 when it cannot see it. */
  readonly pid: number;
  readonly nr: number;
  /** `AUDIT_ARCH_*`. */
  readonly audit: number;
  readonly instructionPointer: bigint;
  readonly args: readonly bigint[];
}

/** What is answered to a notification. */
export type NotificationReply =
  | { readonly kind: 'continue' }
  | { readonly kind: 'return'; readonly value: bigint }
  | { readonly kind: 'errno'; readonly errno: number }
  | ({ readonly kind: 'addFd' } & FdGift);

/** A descriptor for the process that waits. */
export interface FdGift {
  /** Ours, of which it gets a copy. */
  readonly fd: number;
  /** The number it shall have there; the lowest free one when absent. */
  readonly newFd: number | undefined;
  readonly closeOnExec: boolean;
}

/** The kernel's side of a notification descriptor: each call is one ioctl(2) and none waits. */
export class NotificationChannel {
  readonly #listener: OwnedFd;
  readonly #request: Memory;
  readonly #reply: Memory;

  /** @throws UnavailableError before Linux 5.0 */
  constructor(listener: OwnedFd) {
    this.#listener = listener;
    const sizes = allocate(6);
    if (syscall(SYS.seccomp, SECCOMP.GET_NOTIF_SIZES, 0, sizes.address) < 0) {
      throw new UnavailableError(
        'seccomp user notification',
        'the kernel does not know SECCOMP_GET_NOTIF_SIZES',
        'It needs Linux 5.0, and 5.5 for continue()',
      );
    }
    // A newer kernel writes as much as its own structs hold.
    this.#request = allocate(Math.max(80, sizes.bytes.readUInt16LE(0)));
    this.#reply = allocate(Math.max(24, sizes.bytes.readUInt16LE(2)));
  }

  /** Whether a notification waits, or every process under the filter has ended. */
  poll(): 'ready' | 'empty' | 'ended' {
    const pollFd = allocate(8);
    pollFd.bytes.writeInt32LE(this.#listener.fd, 0);
    pollFd.bytes.writeInt16LE(POLLIN, 4);
    const noWait = allocate(16);
    const result = syscall(SYS.ppoll, pollFd.address, 1, noWait.address, 0, 8);
    // A signal of this process came at that moment, and nothing was ready: what is ready later wakes the event loop.
    if (result === -ERRNO.EINTR) return 'empty';
    check('ppoll', result);
    const events = pollFd.bytes.readInt16LE(6);
    if (events & POLLIN) return 'ready';
    return events & (POLLHUP | POLLERR | POLLNVAL) ? 'ended' : 'empty';
  }

  /** The next notification; `undefined` when its process died before it was fetched. Call it only when {@link poll} says `'ready'`: it would wait. */
  receive(): Notification | undefined {
    const { bytes, address } = this.#request;
    // The kernel refuses a struct that is not zeroed.
    bytes.fill(0);
    const result = this.#ioctl(IOCTL.RECV, address);
    if (result === -ERRNO.ENOENT || result === -ERRNO.EINTR) return undefined;
    check('ioctl', result, { doing: 'receiving a seccomp notification' });
    return {
      id: bytes.readBigUInt64LE(0),
      pid: bytes.readUInt32LE(8),
      nr: bytes.readUInt32LE(16),
      audit: bytes.readUInt32LE(20),
      instructionPointer: bytes.readBigUInt64LE(24),
      args: Array.from({ length: 6 }, (_, index) => bytes.readBigUInt64LE(32 + 8 * index)),
    };
  }

  /** Whether the call still waits for its answer, so that its pid still means the same process. */
  isWaiting(id: bigint): boolean {
    const cookie = allocate(8);
    cookie.bytes.writeBigUInt64LE(id, 0);
    return this.#ioctl(IOCTL.ID_VALID, cookie.address) === 0;
  }

  /** @returns false when nobody waits any more: the process died, or a signal ended the call */
  send(id: bigint, reply: NotificationReply): boolean {
    if (reply.kind === 'addFd') return this.#sendFd(id, reply);
    const { bytes, address } = this.#reply;
    bytes.fill(0);
    bytes.writeBigUInt64LE(id, 0);
    if (reply.kind === 'return') bytes.writeBigInt64LE(BigInt.asIntN(64, reply.value), 8);
    if (reply.kind === 'errno') bytes.writeInt32LE(-reply.errno, 16);
    if (reply.kind === 'continue') bytes.writeUInt32LE(SECCOMP_USER_NOTIF_FLAG_CONTINUE, 20);
    return answered(this.#ioctl(IOCTL.SEND, address), 'answering a seccomp notification');
  }

  /**
   * Puts a copy of `fd` into the waiting process.
   *
   * @returns its number there, or `undefined` when nobody waits any more
   */
  addFd(id: bigint, { fd, newFd, closeOnExec }: FdGift, flags = 0): number | undefined {
    const request = allocate(24);
    request.bytes.writeBigUInt64LE(id, 0);
    request.bytes.writeUInt32LE(flags | (newFd === undefined ? 0 : ADDFD_FLAG.SETFD), 8);
    request.bytes.writeUInt32LE(fd, 12);
    request.bytes.writeUInt32LE(newFd ?? 0, 16);
    request.bytes.writeUInt32LE(closeOnExec ? O.CLOEXEC : 0, 20);
    const result = this.#ioctl(IOCTL.ADDFD, request.address);
    return answered(result, 'giving a descriptor to a process (SECCOMP_IOCTL_NOTIF_ADDFD)', ADDFD_HINTS)
      ? result
      : undefined;
  }

  /** A handler can outlive the listener, whose number may be another file's by then: nobody waits any more. */
  #ioctl(request: number, address: number): number {
    return this.#listener.closed ? -ERRNO.ENOENT : ioctl(this.#listener.fd, request, address);
  }

  /** One step for the kernel, since 5.14: otherwise a signal between adding and answering leaves a descriptor nobody knows of. */
  #sendFd(id: bigint, gift: FdGift): boolean {
    return this.addFd(id, gift, ADDFD_FLAG.SEND) !== undefined;
  }
}

const POLLERR = 0x008;
const POLLHUP = 0x010;
const POLLNVAL = 0x020;

const ADDFD_HINTS: Readonly<Record<string, string>> = {
  EBADF: 'Either the descriptor to give is not open here, or newFd is above the RLIMIT_NOFILE of the caller',
  EMFILE: 'The caller has as many descriptors as its RLIMIT_NOFILE allows',
  EINVAL: 'Answering with a descriptor in one step needs Linux 5.14; giveFd() and return() do it in two since 5.9',
};

// ENOENT: the process or its call is gone. ESRCH: it went while the kernel was at it. EINPROGRESS: it was answered already.
const GONE: ReadonlySet<number> = new Set([-ERRNO.ENOENT, -ERRNO.ESRCH, -ERRNO.EINPROGRESS]);

function answered(result: number, doing: string, hints: Readonly<Record<string, string>> = {}): boolean {
  if (GONE.has(result)) return false;
  check('ioctl', result, { doing, hint: hints[errnoName(result)] });
  return true;
}
