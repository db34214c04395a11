import { type FdWatch, O, SyscallError } from '@ns/libc';
import { openControlFile, readAgain } from './control-file.ts';
import type { CgroupDirectory } from './directory.ts';
import { watchPriority } from './priority-poll.ts';

/** A watched file. */
export interface FileWatch extends Disposable {
  ref(): void;
  unref(): void;
}

/**
 * Follows a file the kernel announces changes of (`cgroup.events`, `memory.events`, `pids.events`).
 *
 * kernfs wakes poll(2) with POLLPRI until the file is read again. That needs one descriptor and no inotify instance, of
 * which a user has 128.
 *
 * @param onText - the text now and after each change; `undefined` when the cgroup was removed, after which nothing follows
 * @returns `undefined` when this kernel has no such file
 */
export function watchFile(
  directory: CgroupDirectory,
  file: string,
  onText: (text: string | undefined) => void,
): FileWatch | undefined {
  const opened = openControlFile(directory.fd, file, O.RDONLY);
  if (typeof opened === 'number') {
    if (directory.read(file) === undefined) return undefined;
    throw new SyscallError('openat', opened, { path: `${directory.path}/${file}` });
  }
  let watch: FdWatch | undefined;
  const close = (): void => {
    watch?.close();
    opened.close();
  };
  const deliver = (): void => {
    if (opened.closed) return;
    const text = readAgain(opened);
    if (typeof text === 'number') close();
    onText(typeof text === 'number' ? undefined : text);
  };
  try {
    watch = watchPriority(opened.fd, deliver);
  } catch (error) {
    opened.close();
    throw error;
  }
  // Before the first read everything counts as changed; reading arms the wake-up.
  deliver();
  return {
    ref: () => watch.ref(),
    unref: () => watch.unref(),
    [Symbol.dispose]: close,
  };
}
