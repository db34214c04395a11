import {
  allocate,
  check,
  ERRNO,
  type FdWatch,
  O,
  OwnedFd,
  readInto,
  SYS,
  SyscallError,
  syscall,
  watchFd,
} from '@ns/libc';
import { openControlFile } from './control-file.ts';
import type { CgroupDirectory } from './directory.ts';
import type { FileWatch } from './watch-file.ts';

const EFD_NONBLOCK = O.NONBLOCK;

/**
 * Asks a v1 controller to signal an eventfd: `cgroup.event_control` gets "EVENTFD FILE [ARGUMENTS]".
 *
 * @param file - what to be told about: `memory.oom_control`, `memory.pressure_level`, `memory.usage_in_bytes`
 * @param onEvent - gets `true` once the cgroup was removed, which the kernel signals the same way
 * @returns `undefined` when this kernel has no such file (realtime kernels lack the whole of it)
 */
export function watchV1Event(
  directory: CgroupDirectory,
  file: string,
  parameters: string,
  onEvent: (removed: boolean) => void,
): FileWatch | undefined {
  const about = openControlFile(directory.fd, file, O.RDONLY);
  if (typeof about === 'number') return undefined;
  using aboutFile = about;
  const event = new OwnedFd(check('eventfd2', syscall(SYS.eventfd2, 0, O.CLOEXEC | EFD_NONBLOCK)));
  let watch: FdWatch | undefined;
  const close = (): void => {
    watch?.close();
    event.close();
  };
  try {
    if (!directory.write('cgroup.event_control', `${event.fd} ${aboutFile.fd} ${parameters}`.trim())) {
      close();
      return undefined;
    }
  } catch (error) {
    close();
    throw error;
  }
  const counter = allocate(8);
  watch = watchFd(event.fd, { readable: true }, () => {
    const result = readInto(event.fd, counter.bytes);
    if (result === -ERRNO.EAGAIN) return;
    if (result < 0) throw new SyscallError('read', result, { doing: `read the eventfd of ${directory.path}/${file}` });
    onEvent(directory.gone);
  });
  return { ref: () => watch.ref(), unref: () => watch.unref(), [Symbol.dispose]: close };
}
