import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileCall, hasCode, NsError, O, open, rollBack, SpecError } from '@ns/libc';
import { removeTree } from './remove-tree.ts';
import type { WritableRootSpec } from './storage-driver.ts';
import { storeDirectory } from './store-directory.ts';
import { drain } from './time-slices.ts';

const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** Where a driver keeps its roots: one directory each, with what it was made of in `root.json`. */
export class RootDirectory {
  readonly path: string;

  constructor(path: string) {
    this.path = storeDirectory('home', path);
  }

  /** @throws SpecError before an id becomes a path */
  of(id: string): string {
    if (!ID.test(id)) throw new SpecError('id', 'letters, digits, dots, dashes and underscores, at most 128', id);
    return join(this.path, id);
  }

  /** Makes the directory of a root. `fill` makes what is in it; when it fails, nothing is left. */
  async create(id: string, spec: WritableRootSpec, fill: (path: string) => Promise<void>): Promise<void> {
    const path = this.of(id);
    if (!Array.isArray(spec.layers) || spec.layers.length === 0)
      throw new SpecError('layers', 'at least one directory', spec.layers);
    await fileCall(this.path, () => mkdir(this.path, { recursive: true, mode: 0o700 }));
    await mkdir(path, { mode: 0o700 }).catch((cause: unknown) => {
      if (hasCode(cause, 'EEXIST'))
        throw new NsError('ERR_NS_ROOT_EXISTS', `a root called ${id} exists`, {
          hint: 'Remove it, or choose another id',
          cause,
        });
      throw cause;
    });
    try {
      await fill(path);
      await writeFile(join(path, 'root.json.new'), JSON.stringify(spec));
      await rename(join(path, 'root.json.new'), join(path, 'root.json'));
    } catch (error) {
      throw await rollBack(error, () => this.remove(id));
    }
  }

  /** What a root was made of. */
  async read(id: string): Promise<WritableRootSpec> {
    try {
      return JSON.parse(await readFile(join(this.of(id), 'root.json'), 'utf8')) as WritableRootSpec;
    } catch (cause) {
      if (cause instanceof SpecError) throw cause;
      throw new NsError('ERR_NS_NO_SUCH_ROOT', `there is no root called ${id}`, {
        hint: 'list() has those there are',
        cause,
      });
    }
  }

  async list(): Promise<string[]> {
    const names = await readdir(this.path).catch(() => []);
    return names.filter((name) => ID.test(name)).sort();
  }

  /** Idempotent. */
  async remove(id: string): Promise<void> {
    const path = this.of(id);
    if (!existsSync(path)) return;
    using home = open(this.path, O.PATH | O.DIRECTORY);
    await drain(removeTree(home.fd, id), () => {});
  }
}
