import { hasCode } from '@ns/libc';
import type { CgroupDirectory } from './directory.ts';
import { CgroupGoneError } from './errors.ts';
import { parseFlatKeyed } from './keyed-files.ts';
import { type FileWatch, watchFile } from './watch-file.ts';

const RECHECK_MS = 20;

/**
 * Waits until a key of `cgroup.events` has a value, woken by the kernel.
 *
 * @returns whether it came to be in time; a removed cgroup counts as neither populated nor frozen
 */
export async function waitForCgroupEvent(
  directory: CgroupDirectory,
  key: 'populated' | 'frozen',
  value: 0 | 1,
  timeoutMs: number,
): Promise<boolean> {
  // Mostly it is so already, and to look costs a fraction of watching.
  if (holdsNow(directory, key, value)) return true;
  let settle: (reached: boolean) => void = () => {};
  const reached = new Promise<boolean>((resolve) => {
    settle = resolve;
  });
  using watch = watchOrNot(directory, (text) => {
    if (text === undefined) settle(value === 0);
    else if (parseFlatKeyed(text).get(key) === value) settle(true);
  });
  const timer = setTimeout(settle, timeoutMs, false);
  // The kernel announces a change at most every 10 ms, and forgets the announcement when somebody else removes the
  // cgroup in between: cgroup_file_notify() and cgroup_rm_file() of kernel/cgroup/cgroup.c.
  const recheck = setInterval(() => {
    // Also when it was closed: then nobody waits for more of it.
    if (directory.closed || directory.gone) settle(value === 0);
    else if (!watch && seemsToHold(directory, key, value)) settle(true);
  }, RECHECK_MS);
  try {
    return await reached;
  } finally {
    clearTimeout(timer);
    clearInterval(recheck);
  }
}

/** The same where nobody would hear of an error: the next look may tell more. */
function seemsToHold(...question: Parameters<typeof holdsNow>): boolean {
  try {
    return holdsNow(...question);
  } catch {
    return false;
  }
}

/** Without descriptors for a watch whoever waits looks again and again. */
function watchOrNot(directory: CgroupDirectory, onText: Parameters<typeof watchFile>[2]): FileWatch | undefined {
  try {
    return watchFile(directory, 'cgroup.events', onText);
  } catch (error) {
    if (hasCode(error, 'EMFILE', 'ENFILE')) return undefined;
    throw error;
  }
}

/** Whether a key of `cgroup.events` has a value; a removed cgroup is neither populated nor frozen. */
export function holdsNow(directory: CgroupDirectory, key: 'populated' | 'frozen', value: 0 | 1): boolean {
  try {
    return parseFlatKeyed(directory.read('cgroup.events') ?? '').get(key) === value;
  } catch (error) {
    if (error instanceof CgroupGoneError) return value === 0;
    throw error;
  }
}

/**
 * Asks again and again, with pauses that double from 1 ms to 50 ms: for what v1 does not announce.
 *
 * @returns whether the answer became true in time
 */
export async function waitUntil(holds: () => boolean, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  for (let pauseMs = 1; !holds(); pauseMs = Math.min(pauseMs * 2, 50)) {
    if (performance.now() >= end) return false;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return true;
}
