import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { OwnedFd } from '@ns/libc';
import { attachMount, createMount, unmountAll } from '@ns/mounts';

/** A directory of the test's own, on a tmpfs as root (uppers cannot be on every file system), removed with all mounts in it. */
export class Scratch implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'overlayfs-'));

  constructor(options: { tmpfs?: boolean } = {}) {
    if (!options.tmpfs) return;
    using tmpfs: OwnedFd = createMount({ type: 'tmpfs', source: 'scratch', options: ['mode=755'] });
    attachMount(tmpfs, this.path);
  }

  /** Makes directories and returns the path. */
  dir(name: string): string {
    const path = join(this.path, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** Writes files below a directory of the scratch; a name with a slash at its end is a directory. */
  tree(name: string, files: Readonly<Record<string, string | Buffer>>): string {
    const root = this.dir(name);
    for (const [path, content] of Object.entries(files)) {
      if (path.endsWith('/')) {
        mkdirSync(join(root, path), { recursive: true });
        continue;
      }
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), content);
    }
    return root;
  }

  [Symbol.dispose](): void {
    if (process.geteuid?.() === 0) unmountAll(this.path);
    rmSync(this.path, { recursive: true, force: true });
  }
}
