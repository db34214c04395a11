import { abortProcess, CLONE, check, O, type OwnedFd, open, SpecError, SYS, syscall } from '@ns/libc';

/**
 * Runs `body` with the calling thread inside another network namespace: setns(2), then back. A socket belongs for ever to
 * the namespace it was made in, so this is needed for the microseconds of a socket(2) call only.
 *
 * `body` must be synchronous: other code of this thread would run inside the namespace otherwise. Needs CAP_SYS_ADMIN in
 * the user namespaces that own both. When the way back fails all the same, the process ends (SIGABRT): everything it opened
 * afterwards would be in the wrong network.
 *
 * @param namespaceFd - an open network namespace
 * @throws SyscallError EINVAL when the descriptor is no network namespace, EPERM without the privilege
 */
export function insideNetworkNamespace<Result>(namespaceFd: number, body: () => Result): Result {
  return awayFromHome(
    () => check('setns', syscall(SYS.setns, namespaceFd, CLONE.NEWNET), { doing: 'enter the network namespace' }),
    body,
  );
}

/**
 * Runs `body` with the calling thread inside a network namespace that is made for it: unshare(2), then back. The rules of
 * {@link insideNetworkNamespace} hold. The namespace is gone afterwards unless `body` opened it.
 *
 * @throws SyscallError EPERM without CAP_SYS_ADMIN, here or over the network namespace to come back to, ENOSPC at the limit user.max_net_namespaces
 */
export function insideNewNetworkNamespace<Result>(body: () => Result): Result {
  return awayFromHome(
    () => check('unshare', syscall(SYS.unshare, CLONE.NEWNET), { doing: 'create a network namespace' }),
    body,
  );
}

/** The calling thread's network namespace. */
export function openOwnNetworkNamespace(): OwnedFd {
  // thread-self, not self: a worker_thread may live in a namespace of its own.
  return open('/proc/thread-self/ns/net', O.RDONLY);
}

function awayFromHome<Result>(leave: () => void, body: () => Result): Result {
  using home = openOwnNetworkNamespace();
  // Root of a user namespace may leave a network that is not its own, and never enter it again: that is known before.
  const enterHome = () => syscall(SYS.setns, home.fd, CLONE.NEWNET);
  check('setns', enterHome(), { doing: 'make sure of the way back into the own network namespace' });
  leave();
  try {
    const result = body();
    if (result instanceof Promise) throw new SpecError('body', 'a synchronous function', result);
    return result;
  } finally {
    if (enterHome() < 0) abortProcess();
  }
}
