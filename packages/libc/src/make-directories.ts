import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { hasCode } from './errors.ts';
import { fileCall } from './file-call.ts';

/**
 * Makes a directory that a caller names, with those above it. Node's own `recursive` does not end below /proc: a directory
 * is there, and none can be made in it.
 *
 * @throws SyscallError of mkdir(2)
 */
export function makeDirectories(path: string, mode = 0o777): void {
  try {
    makeDirectory(path, mode);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    makeDirectories(dirname(path), mode);
    makeDirectory(path, mode);
  }
}

/** That a file has the name, who wants to use it is told. */
function makeDirectory(path: string, mode: number): void {
  try {
    fileCall(path, () => mkdirSync(path, { mode }));
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
}
