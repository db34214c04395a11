import { setTimeout as sleep } from 'node:timers/promises';
import { check, ERRNO, NsError, O, type OwnedFd, open, SYS, syscall } from '@ns/libc';

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Runs `body` while holding flock(2) on a file. The kernel gives the lock back when the process dies, whatever it dies of.
 * Waiting never blocks the event loop.
 *
 * @throws NsError ERR_NS_LOCK_TIMEOUT after `timeoutMs`
 */
export async function withFileLock<Result>(
  path: string,
  body: () => Result | Promise<Result>,
  timeoutMs = 10_000,
): Promise<Result> {
  using file = open(path, O.RDWR | O.CREAT | O.NOFOLLOW, { mode: 0o600 });
  await lock(file, path, Date.now() + timeoutMs);
  return await body();
}

async function lock(file: OwnedFd, path: string, deadline: number): Promise<void> {
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 20)) {
    const result = syscall(SYS.flock, file.fd, LOCK_EX | LOCK_NB);
    if (result !== -ERRNO.EAGAIN!) {
      check('flock', result, { path });
      return;
    }
    if (Date.now() > deadline) throw new NsError('ERR_NS_LOCK_TIMEOUT', `another process holds ${path} for too long`);
    await sleep(waitMs);
  }
}
