import { resolve } from 'node:path';
import { SpecError } from '@ns/libc';

/**
 * Where somebody wants us to keep things, as an absolute path: it stays the same when the process changes its directory.
 *
 * @throws SpecError for an empty one, which would be the directory the process happens to be in
 */
export function storeDirectory(field: string, path: string): string {
  if (typeof path !== 'string' || path === '') throw new SpecError(field, 'a directory', path);
  return resolve(path);
}
