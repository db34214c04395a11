import { check, closeBound, ERRNO, type OwnedFd } from '@ns/libc';
import { enterChildDirectory } from './directory-place.ts';
import { UnsafePathError } from './unsafe-path-error.ts';
import { join } from './walk-layer.ts';

/**
 * The directories from a root down to where a depth-first walk is, each opened by its own name in the one above: whatever
 * is renamed meanwhile, no link is ever followed and no descriptor is of anything outside the root.
 */
export class Branch implements Disposable {
  readonly #root: OwnedFd;
  readonly #levels: { readonly path: string; readonly fd: number }[] = [];

  /** @param root - stays the caller's */
  constructor(root: OwnedFd) {
    this.#root = root;
  }

  /**
   * Descriptor of a directory below the root, open until a path beside it is entered; `undefined` when it is not there.
   *
   * @throws UnsafePathError when something else is there
   */
  enter(path: string): number | undefined {
    let top = this.#levels.at(-1);
    while (top && top.path !== path && !path.startsWith(`${top.path}/`)) {
      closeBound(top.fd);
      this.#levels.pop();
      top = this.#levels.at(-1);
    }
    let here = top?.path ?? '';
    let fd = top?.fd ?? this.#root.fd;
    while (here !== path) {
      const rest = path.slice(here === '' ? 0 : here.length + 1);
      const name = rest.includes('/') ? rest.slice(0, rest.indexOf('/')) : rest;
      here = join(here, name);
      fd = enterChildDirectory(fd, name);
      if (fd === -ERRNO.ENOENT) return undefined;
      if (fd === -ERRNO.ELOOP || fd === -ERRNO.ENOTDIR)
        throw new UnsafePathError(`/${here}`, 'a link or a file stands where a directory must be');
      check('openat', fd, { path: here });
      this.#levels.push({ path: here, fd });
    }
    return fd;
  }

  /** Forgets a directory that was replaced. */
  leave(path: string): void {
    const at = this.#levels.findIndex((level) => level.path === path || level.path.startsWith(`${path}/`));
    if (at >= 0) for (const { fd } of this.#levels.splice(at)) closeBound(fd);
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#levels.splice(0)) closeBound(fd);
  }
}
