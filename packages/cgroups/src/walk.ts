import { closeBound, O, openBound, readDirectory, S, SyscallError } from '@ns/libc';
import { readControlFile } from './control-file.ts';

/** What is done on a walk. Descriptors are the walk's. */
export interface Visitor {
  /** A cgroup is reached. False: neither it nor what is in it is of interest. */
  readonly enter?: (fd: number, path: readonly string[]) => boolean;
  /** All that is in a cgroup has been seen. */
  readonly leave?: (cgroup: { readonly fd: number; readonly name: string; readonly parentFd: number }) => void;
}

/**
 * Walks through the cgroups below an open one, those in a cgroup before it is left.
 *
 * A container may have made them, to which cgroups were delegated: deeper than a path can say, than there are descriptors
 * or than the stack goes, under names of any bytes, and changing meanwhile. So it goes down by name and up by "..", and
 * holds one descriptor.
 */
export function walkBelow(topFd: number, { enter, leave }: Visitor): void {
  let fd = openDirectoryAt(topFd, '.');
  if (fd < 0) return;
  const path: string[] = [];
  const unseen = [childDirectories(fd)];
  try {
    for (;;) {
      const name = unseen.at(-1)!.pop();
      if (name !== undefined) {
        const child = openDirectoryAt(fd, name);
        if (child < 0) continue; // removed meanwhile
        path.push(name);
        let entered = false;
        try {
          entered = enter?.(child, path) ?? true;
        } finally {
          // What was not entered is left behind: the walk goes on where it was.
          closeBound(entered ? fd : child);
          if (entered) fd = child;
        }
        if (entered) unseen.push(childDirectories(fd));
        else path.pop();
      } else {
        unseen.pop();
        const left = path.pop();
        if (left === undefined) return;
        const parentFd = openDirectoryAt(fd, '..');
        if (parentFd < 0) return; // removed meanwhile, with its parents
        try {
          leave?.({ fd, name: left, parentFd });
        } finally {
          closeBound(fd);
          fd = parentFd;
        }
      }
    }
  } finally {
    closeBound(fd);
  }
}

/** A figure in a file of each cgroup below an open one, all together. Those that are removed meanwhile count nothing. */
export function sumBelow(topFd: number, file: string, figure: (text: string) => number | undefined): number {
  let total = 0;
  walkBelow(topFd, {
    enter(fd) {
      const text = readControlFile(fd, file);
      total += (typeof text === 'string' && figure(text)) || 0;
      return true;
    },
  });
  return total;
}

function openDirectoryAt(fd: number, name: string): number {
  return openBound(fd, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
}

/** Names of the child cgroups of an open directory. */
function childDirectories(directoryFd: number): string[] {
  // A descriptor of its own, because reading a directory moves the position all holders share.
  const fd = openDirectoryAt(directoryFd, '.');
  if (fd < 0) return [];
  try {
    return readDirectory(fd)
      .filter((entry) => entry.type === S.IFDIR >> 12)
      .map((entry) => entry.name);
  } catch (error) {
    // Removed since it was opened: then it has no children.
    if (error instanceof SyscallError && error.code === 'ENOENT') return [];
    throw error;
  } finally {
    closeBound(fd);
  }
}
