import { closeBound, closeFd, type OwnedFd, readDirectory, type Stat, statAt } from '@ns/libc';
import { enterChildDirectory, openChildDirectory, openDirectory } from './directory-place.ts';
import { isDirectory } from './file-type.ts';
import type { Owner } from './owner.ts';
import type { StackedLayer } from './walk-stack.ts';
import { directoryMarks, isDeviceWhiteout, isXattrWhiteout } from './whiteouts.ts';

interface Part {
  readonly fd: number;
  readonly mapOwner: ((owner: Owner) => Owner) | undefined;
  readonly mayHoldXattrWhiteouts: boolean;
}

interface Merged {
  /** Path of the directory, empty for the root. */
  readonly path: string;
  /** The layers that contribute to it, topmost first; the caller's roots are not closed with the rest. */
  readonly layers: readonly Part[];
}

/** A file as the stack of lower layers shows it. */
export interface LowerFile {
  readonly dirFd: number;
  readonly stat: Stat;
}

/**
 * What a stack of read-only layers shows, by overlayfs's own rules but without mounting anything: the topmost layer that
 * has a name wins, directories merge, whiteouts and opaque directories hide what is below them. Lookups must come in the
 * order of a depth-first walk, as {@link walkLayer} visits; the descriptors of the current branch stay open.
 */
export class LowerView implements Disposable {
  readonly #roots: OwnedFd[] = [];
  readonly #branch: Merged[] = [];

  readonly #marked: boolean;

  /**
   * @param lowers - topmost first, as in `lowerdir`
   * @param whiteouts - `none` for a plain tree, in which a device 0/0 is a device
   */
  constructor(lowers: readonly StackedLayer[], whiteouts: 'overlay' | 'none' = 'overlay') {
    this.#marked = whiteouts === 'overlay';
    const layers: Part[] = [];
    try {
      for (const lower of lowers) {
        const { directory, mapOwner } =
          typeof lower === 'object' && 'directory' in lower ? lower : { directory: lower, mapOwner: undefined };
        const root = openDirectory(directory);
        this.#roots.push(root);
        layers.push({ fd: root.fd, mapOwner, mayHoldXattrWhiteouts: this.#marks(root.fd, '').mayHoldXattrWhiteouts });
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    this.#branch.push({ path: '', layers });
  }

  /** What `name` in the directory `parent` is below the upper layer; `undefined` when there is nothing. */
  lookup(parent: string, name: string): LowerFile | undefined {
    for (const { fd, mapOwner, mayHoldXattrWhiteouts } of this.#enter(parent)) {
      const found = statAt(fd, name);
      if (!found) continue;
      const stat = mapOwner ? { ...found, ...mapOwner({ uid: found.uid, gid: found.gid }) } : found;
      if (this.#marked && (isDeviceWhiteout(stat) || (mayHoldXattrWhiteouts && isXattrWhiteout(fd, name, stat))))
        return undefined;
      return { dirFd: fd, stat };
    }
    return undefined;
  }

  /** All names the directory shows below the upper layer, sorted. */
  list(path: string): string[] {
    const names = new Set<string>();
    for (const { fd } of this.#enter(path)) {
      // A second descriptor: reading to the end moves the offset of the first for good.
      const own = openChildDirectory(fd, '.');
      if (own < 0) continue;
      for (const { name } of readDirectory(own)) names.add(name);
      closeFd(own);
    }
    return [...names].filter((name) => this.lookup(path, name)).sort();
  }

  /** The layers merged in a directory, none when it is no directory there. Leaves and enters branches as needed. */
  #enter(path: string): Merged['layers'] {
    let here = this.#branch.at(-1)!;
    while (here.path !== path && here.path !== '' && !path.startsWith(`${here.path}/`)) {
      for (const { fd } of here.layers) closeBound(fd);
      this.#branch.pop();
      here = this.#branch.at(-1)!;
    }
    while (here.path !== path) {
      const rest = path.slice(here.path === '' ? 0 : here.path.length + 1);
      const slash = rest.indexOf('/');
      const name = slash < 0 ? rest : rest.slice(0, slash);
      here = { path: here.path === '' ? name : `${here.path}/${name}`, layers: this.#merge(here.layers, name) };
      this.#branch.push(here);
    }
    return here.layers;
  }

  #merge(parents: Merged['layers'], name: string): Merged['layers'] {
    const layers: Part[] = [];
    for (const parent of parents) {
      const stat = statAt(parent.fd, name);
      if (!stat) continue;
      // A file or whiteout of a higher layer hides what is below it; below a directory, it is hidden by it.
      if (!isDirectory(stat)) break;
      const fd = enterChildDirectory(parent.fd, name);
      if (fd < 0) break;
      const { opaque, mayHoldXattrWhiteouts } = this.#marks(parent.fd, name);
      layers.push({ fd, mapOwner: parent.mapOwner, mayHoldXattrWhiteouts });
      if (opaque) break;
    }
    return layers;
  }

  #marks(dirFd: number, name: string): ReturnType<typeof directoryMarks> {
    return this.#marked ? directoryMarks(dirFd, name) : { opaque: false, mayHoldXattrWhiteouts: false };
  }

  /** Idempotent. */
  [Symbol.dispose](): void {
    for (const { layers, path } of this.#branch.splice(0)) {
      if (path !== '') for (const { fd } of layers) closeBound(fd);
    }
    for (const root of this.#roots) root.close();
  }
}
