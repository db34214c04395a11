import { fstatSync, readSync } from 'node:fs';
import { O, open, openat2, RESOLVE, SyscallError } from '@ns/libc';

// CVE-2024-9676, CVE-2026-47262: /etc/passwd of an image may be a FIFO, a link to /dev/zero or 10 GB long.
const MAX_BYTES = 2 ** 20;
// One for all, who read one after the other: as new ones they are collected at the cost of everybody's time.
const bytes = Buffer.allocUnsafeSlow(MAX_BYTES);

/**
 * The text of a small regular file inside the topmost layer that has it. Links are resolved inside that layer.
 *
 * @returns undefined when no layer has the file, or what stands there is not a regular file
 */
export function readInRoot(layers: readonly string[], path: string): string | undefined {
  for (const layer of layers) {
    try {
      using root = open(layer, O.PATH | O.DIRECTORY);
      using file = openat2(root.fd, path, {
        flags: O.RDONLY | O.NONBLOCK | O.NOCTTY,
        resolve: RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS,
      });
      if (!fstatSync(file.fd).isFile()) return undefined;
      let length = 0;
      for (let count = -1; count !== 0 && length < MAX_BYTES; length += count)
        count = readSync(file.fd, bytes, length, MAX_BYTES - length, null);
      return bytes.toString('utf8', 0, length);
    } catch (error) {
      if (
        error instanceof SyscallError &&
        (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'ELOOP')
      )
        continue;
      throw error;
    }
  }
  return undefined;
}
