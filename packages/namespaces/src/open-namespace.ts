import { existsSync, readFileSync } from 'node:fs';
import type { NamespaceKind } from '@ns/launch';
import {
  AT_FDCWD,
  ERRNO,
  fileSystemMagic,
  ioctl,
  MAGIC,
  O,
  OwnedFd,
  openAt,
  pidfdSendSignal,
  SpecError,
  UnavailableError,
} from '@ns/libc';
import { NamespaceError } from './errors.ts';
import { checkAction } from './hints.ts';
import { kindOfFlag } from './kinds.ts';

/** Whose namespace, or where it is pinned: a pid, a pidfd (it stays the caller's), or a path. */
export type NamespaceTarget =
  | { readonly pid: number; readonly pidfd?: never; readonly path?: never }
  | { readonly pidfd: number; readonly pid?: never; readonly path?: never }
  | { readonly path: string; readonly pid?: never; readonly pidfd?: never };

// <linux/nsfs.h>: _IO(0xb7, n)
const NS_GET_NSTYPE = 0xb703; // since 4.11

// <linux/pidfd.h>: _IO(0xff, n), since 6.11
const PIDFD_GET_NAMESPACE: Readonly<Record<NamespaceKind, number>> = {
  cgroup: 0xff01,
  ipc: 0xff02,
  mnt: 0xff03,
  net: 0xff04,
  pid: 0xff05,
  time: 0xff07,
  user: 0xff09,
  uts: 0xff0a,
};

/** A descriptor of a namespace, whose kind has been verified. */
export function openNamespace(kind: NamespaceKind, target: NamespaceTarget): OwnedFd {
  const given = (['pid', 'pidfd', 'path'] as const).filter((key) => target?.[key] !== undefined);
  if (given.length !== 1) throw new SpecError('target', 'one of { pid }, { pidfd }, { path }', target);
  if (target.path !== undefined) return openPath(kind, target.path);
  if (target.pidfd !== undefined) {
    if (!Number.isInteger(target.pidfd) || target.pidfd < 0)
      throw new SpecError('target.pidfd', 'the number of a descriptor', target.pidfd);
    return openByPidfd(kind, target.pidfd);
  }
  if (!Number.isInteger(target.pid) || target.pid! <= 0) throw new SpecError('target.pid', 'a process id', target.pid);
  return openProcess(kind, String(target.pid));
}

/** The calling thread's own namespace. */
export function openCurrent(kind: NamespaceKind): OwnedFd {
  // Not /proc/self: after setns only the calling thread is elsewhere.
  return openProcess(kind, 'thread-self');
}

function openProcess(kind: NamespaceKind, process: string): OwnedFd {
  const path = `/proc/${process}/ns/${kind}`;
  const result = openAt(AT_FDCWD, path, O.RDONLY);
  if (result === -ERRNO.ENOENT && !existsSync(`/proc/thread-self/ns/${kind}`)) throw withoutKind(kind);
  return new OwnedFd(checkAction('open', 'openat', result, { path }));
}

function openPath(kind: NamespaceKind, path: string): OwnedFd {
  if (typeof path !== 'string' || path === '') throw new SpecError('target.path', 'a path', path);
  // O_PATH first: a path from outside may lead to a device or a pipe, which must not be opened to find that out.
  using place = new OwnedFd(checkAction('open', 'openat', openAt(AT_FDCWD, path, O.PATH), { path }));
  verifyNsfs(place.fd, path);
  const fd = new OwnedFd(checkAction('open', 'openat', openAt(AT_FDCWD, place.procPath, O.RDONLY), { path }));
  verifyKind(fd, kind, path);
  return fd;
}

/** Throws unless the file is one of nsfs: anything can be at a path. */
export function verifyNsfs(fd: number, path: string): void {
  if (fileSystemMagic(fd) !== MAGIC.NSFS)
    throw new NamespaceError('ERR_NS_NOT_A_NAMESPACE', `${path} is not a namespace`, {
      hint: 'Give a file of /proc/PID/ns, or one that a namespace is pinned on; listNamespaces() knows both',
    });
}

function verifyKind(fd: OwnedFd, kind: NamespaceKind, path: string): void {
  const found = kindOf(fd.fd);
  if (found === kind) return;
  fd.close();
  throw new NamespaceError(
    'ERR_NS_WRONG_KIND',
    `${path} is a ${found ?? 'unknown kind of'} namespace, not a ${kind} namespace`,
    {
      hint: found
        ? `Open it as '${found}', or give the path of a ${kind} namespace`
        : 'Use a newer version of this package',
    },
  );
}

/** The kind of an open namespace: ioctl NS_GET_NSTYPE. */
export function kindOf(fd: number): NamespaceKind | undefined {
  return kindOfFlag(
    checkAction('open', 'ioctl', ioctl(fd, NS_GET_NSTYPE), { doing: 'asking for the kind of a namespace' }),
  );
}

function openByPidfd(kind: NamespaceKind, pidfd: number): OwnedFd {
  const result = ioctl(pidfd, PIDFD_GET_NAMESPACE[kind]);
  if (result >= 0) return new OwnedFd(result);
  // EOPNOTSUPP: the kernel was built without this kind. ENOTTY, EINVAL: before 6.11, or no pidfd.
  if (result === -ERRNO.EOPNOTSUPP) throw withoutKind(kind);
  if (result !== -ERRNO.ENOTTY && result !== -ERRNO.EINVAL)
    checkAction('open', 'ioctl', result, { doing: 'opening a namespace of a pidfd' });
  const fd = openProcess(kind, String(pidOf(pidfd)));
  // Only a process that is still there has kept its pid to itself until now.
  if (pidfdSendSignal(pidfd, 0)) return fd;
  fd.close();
  checkAction('open', 'pidfd_send_signal', -ERRNO.ESRCH, { doing: 'opening a namespace of a pidfd' });
  throw new SpecError('target.pidfd', 'the pidfd of a living process', pidfd);
}

/**
 * The pid of a pidfd's process, as this process sees it.
 *
 * @throws SpecError when the descriptor is no pidfd, or its process has ended or is not visible here
 */
export function pidOf(pidfd: number): number {
  const pid = Number(/^Pid:\s*(\d+)$/m.exec(fdinfo(pidfd))?.[1] ?? 0);
  if (pid > 0) return pid;
  throw new SpecError('target.pidfd', 'the pidfd of a living process', pidfd);
}

function fdinfo(fd: number): string {
  try {
    return readFileSync(`/proc/thread-self/fdinfo/${fd}`, 'latin1');
  } catch {
    return '';
  }
}

function withoutKind(kind: NamespaceKind): UnavailableError {
  const option = `CONFIG_${kind === 'mnt' ? 'NAMESPACES' : `${kind.toUpperCase()}_NS`}`;
  const since = kind === 'time' ? ' of Linux 5.6 or later' : kind === 'cgroup' ? ' of Linux 4.6 or later' : '';
  return new UnavailableError(
    `a ${kind} namespace`,
    'the kernel has none',
    `Use a kernel${since} built with ${option}`,
  );
}
