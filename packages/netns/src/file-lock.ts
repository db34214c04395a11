import { mkdirSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileCall, NsError, O, type OwnedFd, open, SyscallError, statFd, tryLock } from '@ns/libc';

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
  return afterOthersHere(path, timeoutMs, async () => {
    using file = open(path, O.RDWR | O.CREAT | O.NOFOLLOW, { mode: 0o600 });
    await lock(file, path, Date.now() + timeoutMs);
    return await body();
  });
}

/**
 * {@link withFileLock} on a directory, which is made when it is missing. Whoever holds it may remove it: the next one
 * locks the one that is made then.
 */
export async function withDirectoryLock<Result>(
  path: string,
  body: () => Result | Promise<Result>,
  timeoutMs = 10_000,
): Promise<Result> {
  return afterOthersHere(path, timeoutMs, async () => {
    for (const deadline = Date.now() + timeoutMs; ; ) {
      fileCall(path, () => mkdirSync(path, { recursive: true, mode: 0o700 }));
      using directory = openIfThere(path);
      if (!directory) continue;
      await lock(directory, path, deadline);
      if (statSync(path, { bigint: true, throwIfNoEntry: false })?.ino === BigInt(statFd(directory.fd).ino))
        return await body();
    }
  });
}

/** Ends of those of this thread who have a lock or wait for it: by path, the last one's. */
const queues = new Map<string, Promise<void>>();

/** Those of one thread come one after the other: polling is for what other processes hold. */
async function afterOthersHere<Result>(path: string, timeoutMs: number, act: () => Promise<Result>): Promise<Result> {
  const before = queues.get(path);
  if (before && timeoutMs === 0) throw held(path);
  const acting = before ? before.then(act) : act();
  const ended = acting.then(nothing, nothing);
  queues.set(path, ended);
  try {
    return await acting;
  } finally {
    if (queues.get(path) === ended) queues.delete(path);
  }
}

function nothing(): void {}

function openIfThere(path: string): OwnedFd | undefined {
  try {
    return open(path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

async function lock(file: OwnedFd, path: string, deadline: number): Promise<void> {
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 20)) {
    if (tryLock(file.fd)) return;
    if (Date.now() > deadline) throw held(path);
    await sleep(waitMs);
  }
}

function held(path: string): NsError {
  return new NsError('ERR_NS_LOCK_TIMEOUT', `another process holds ${path} for too long`, {
    hint: 'Likely it is stopped; fuser shows which',
  });
}
