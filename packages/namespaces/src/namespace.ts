import { fstatSync } from 'node:fs';
import { type NamespaceKind, namespaceFlags } from '@ns/launch';
import { allocate, ERRNO, ioctl, OwnedFd, SYS, syscall } from '@ns/libc';
import { enterNamespace } from './enter-namespace.ts';
import { NamespaceError } from './errors.ts';
import { checkAction } from './hints.ts';
import { type NamespaceKindName, namespaceKind } from './kinds.ts';
import { kindOf, type NamespaceTarget, openCurrent, openNamespace } from './open-namespace.ts';
import { pinNamespace } from './pin.ts';

// <linux/nsfs.h>: _IO(0xb7, n)
const NS_GET_USERNS = 0xb701; // since 4.9
const NS_GET_PARENT = 0xb702; // since 4.9
const NS_GET_OWNER_UID = 0xb704; // since 4.11

/** What tells namespaces apart: device and inode of their file in nsfs, never one of them alone. */
export interface NamespaceId {
  /** `st_dev` of nsfs: the same for all namespaces of a machine that runs one kernel. */
  readonly device: number;
  /** `st_ino`, the number in `net:[4026531840]`. Given to another namespace when this one is gone. */
  readonly inode: number;
}

/**
 * A Linux namespace, held by a descriptor: it exists at least until {@link Namespace.close}.
 *
 * @example
 * ```ts
 * import { networkInterfaces } from 'node:os';
 *
 * using net = Namespace.open('net', { pid });
 * const names = net.enter(() => Object.keys(networkInterfaces()));
 * net.pin('/run/netns/blue');
 * ```
 */
export class Namespace implements Disposable {
  /** Asked from the kernel, not taken from a name. */
  readonly kind: NamespaceKind;
  /** What it is told apart by. */
  readonly id: NamespaceId;
  readonly #fd: OwnedFd;

  private constructor(kind: NamespaceKind, fd: OwnedFd) {
    this.kind = kind;
    this.#fd = fd;
    const { dev, ino } = fstatSync(fd.fd);
    this.id = { device: dev, inode: ino };
  }

  /**
   * Opens a namespace of a process, or one that is pinned at a path (`/run/netns/blue`, `/proc/PID/ns/net`).
   *
   * Another user's process needs CAP_SYS_PTRACE. A path is opened only when it is a file of nsfs, and any kind is verified
   * by ioctl. Through a pidfd since 5.3; atomic since 6.11 (PIDFD_GET_*_NAMESPACE), verified afterwards before.
   *
   * @throws SpecError for an unknown kind or target
   * @throws NamespaceError `ERR_NS_NOT_A_NAMESPACE`, `ERR_NS_WRONG_KIND`
   * @throws UnavailableError when this kernel lacks the kind
   * @throws SyscallError `ENOENT`, `ESRCH`, `EACCES`
   *
   * @example
   * ```ts
   * using net = Namespace.open('net', { path: '/run/netns/blue' });
   * ```
   */
  static open(kind: NamespaceKindName, target: NamespaceTarget): Namespace {
    const name = namespaceKind(kind);
    return new Namespace(name, openNamespace(name, target));
  }

  /**
   * The calling thread's own namespace: `/proc/thread-self/ns`.
   *
   * Needs no privilege.
   *
   * @throws SpecError for an unknown kind
   * @throws UnavailableError when this kernel lacks the kind
   *
   * @example
   * ```ts
   * using net = Namespace.current('net');
   * ```
   */
  static current(kind: NamespaceKindName): Namespace {
    const name = namespaceKind(kind);
    return new Namespace(name, openCurrent(name));
  }

  /**
   * A new namespace of a kind that can be entered (net, uts, ipc, cgroup): unshare(2) in the calling thread, which returns to
   * its own at once. Needs CAP_SYS_ADMIN. The others begin with a process: `@ns/launch`.
   *
   * @throws NotEnterableError for user, mnt, pid and time
   * @throws SyscallError `EPERM`; `ENOSPC` when `user.max_*_namespaces` is reached
   *
   * @example
   * ```ts
   * using net = Namespace.create('net');
   * net.pin('/run/netns/blue');
   * ```
   */
  static create(kind: NamespaceKindName): Namespace {
    using home = Namespace.current(kind);
    return home.enter(() => {
      checkAction('setns', 'unshare', syscall(SYS.unshare, namespaceFlags[home.kind]), {
        doing: `making a ${home.kind} namespace`,
      });
      return Namespace.current(home.kind);
    });
  }

  /** Takes ownership of a descriptor of any namespace; its kind is asked from the kernel. */
  static #of(fd: OwnedFd): Namespace {
    const kind = kindOf(fd.fd);
    if (kind) return new Namespace(kind, fd);
    fd.close();
    throw new NamespaceError(
      'ERR_NS_WRONG_KIND',
      'the kernel has a kind of namespace that this package does not know',
      {
        hint: 'Use a newer version of this package',
      },
    );
  }

  /** The descriptor, for `setns` or a step of `@ns/launch`. It stays this object's. */
  get fd(): number {
    return this.#fd.fd;
  }

  /** As the links in `/proc/PID/ns` read: `net:[4026531840]`. */
  get name(): string {
    return `${this.kind}:[${this.id.inode}]`;
  }

  /** Whether both are the same namespace. */
  equals(other: Namespace): boolean {
    return this.id.device === other.id.device && this.id.inode === other.id.inode;
  }

  /**
   * The user namespace that owns this one, whose capabilities count here; of a user namespace, its parent. NS_GET_USERNS,
   * since 4.9.
   *
   * @throws SyscallError `EPERM` when it is not in sight: neither ours nor below
   *
   * @example
   * ```ts
   * using net = Namespace.open('net', { pid });
   * using owner = net.owner();
   * const uid = owner.ownerUid();
   * ```
   */
  owner(): Namespace {
    const result = ioctl(this.fd, NS_GET_USERNS);
    return Namespace.#of(
      new OwnedFd(checkAction('owner', 'ioctl', result, { doing: `asking for the owner of ${this.name}` })),
    );
  }

  /**
   * The namespace around a pid or user namespace: NS_GET_PARENT, since 4.9.
   *
   * @returns `undefined` when there is none, or it is outside of our own and thereby hidden; the kernel does not say which
   * @throws NamespaceError `ERR_NS_NOT_HIERARCHICAL` for the other kinds
   *
   * @example
   * ```ts
   * using namespace = Namespace.current('pid');
   * using around = namespace.parent(); // undefined in the initial one
   * ```
   */
  parent(): Namespace | undefined {
    const result = ioctl(this.fd, NS_GET_PARENT);
    if (result === -ERRNO.EPERM) return undefined;
    if (result === -ERRNO.EINVAL) {
      throw new NamespaceError(
        'ERR_NS_NOT_HIERARCHICAL',
        `a ${this.kind} namespace has no parent; pid and user namespaces have`,
        { hint: 'Ask for the parent of its owner(), a user namespace' },
      );
    }
    return Namespace.#of(
      new OwnedFd(checkAction('parent', 'ioctl', result, { doing: `asking for the parent of ${this.name}` })),
    );
  }

  /**
   * The uid (in our user namespace) of the creator of a user namespace, who has all capabilities in it. NS_GET_OWNER_UID,
   * since 4.11.
   *
   * @throws NamespaceError `ERR_NS_WRONG_KIND` for other kinds
   *
   * @example
   * ```ts
   * using user = Namespace.open('user', { pid });
   * user.ownerUid(); // 1000: who called unshare(CLONE_NEWUSER)
   * ```
   */
  ownerUid(): number {
    if (this.kind !== 'user')
      throw new NamespaceError('ERR_NS_WRONG_KIND', `${this.name} has no uid of its own`, {
        hint: 'Its owner(), a user namespace, has one: owner().ownerUid()',
      });
    const uid = allocate(4);
    checkAction('owner', 'ioctl', ioctl(this.fd, NS_GET_OWNER_UID, uid.address), {
      doing: `asking for the owner of ${this.name}`,
    });
    return uid.bytes.readUInt32LE(0);
  }

  /**
   * Keeps the namespace alive under a name: makes the file and mounts the namespace on it. Needs CAP_SYS_ADMIN.
   * {@link unpin} reverses it. On a shared mount the pin shows in every mount namespace of the peer group.
   *
   * @param path - must not exist; its directory must
   * @throws SyscallError `EEXIST`, `EPERM`; `EINVAL` for a mount namespace where it must not be
   *
   * @example
   * ```ts
   * using uts = Namespace.create('uts');
   * uts.pin('/run/uts-blue');
   * ```
   */
  pin(path: string): void {
    pinNamespace(this.#fd, path);
  }

  /**
   * Runs a function while the calling thread is in the namespace: net, uts, ipc and cgroup, with CAP_SYS_ADMIN. The thread is back
   * in its own when the function has returned or thrown; if it could not go back, the process is ended by SIGABRT.
   *
   * @param fn - synchronous. What it hands to other threads (`fs.promises`, DNS lookups) happens outside the namespace; a
   *   socket belongs to the namespace in which it was made
   * @throws NotEnterableError `ERR_NS_NOT_ENTERABLE` for user, mnt, pid and time, with the way that works
   * @throws NsError `ERR_NS_ASYNC_CALLBACK` when `fn` is asynchronous or a generator
   *
   * @example
   * ```ts
   * import { createServer } from 'node:net';
   *
   * using net = Namespace.open('net', { pid });
   * const server = net.enter(() => createServer().listen(80)); // its socket is in there, its events come here
   * ```
   */
  enter<T>(fn: () => T): T {
    return enterNamespace(this.kind, this.fd, fn);
  }

  /** Idempotent. */
  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
