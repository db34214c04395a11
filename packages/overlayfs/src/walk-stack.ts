import { check, closeBound, ERRNO, readDirectory, statAt, statFd } from '@ns/libc';
import { type DirectoryPlace, enterChildDirectory, openDirectory } from './directory-place.ts';
import { isDirectory } from './file-type.ts';
import type { Owner } from './owner.ts';
import { join, type LayerEntry } from './walk-layer.ts';
import { directoryMarks, isDeviceWhiteout, isXattrWhiteout } from './whiteouts.ts';

/** A layer, and whose its files are: translated, where not all layers have the same ids. */
export type StackedLayer =
  | DirectoryPlace
  | { readonly directory: DirectoryPlace; readonly mapOwner?: ((owner: Owner) => Owner) | undefined };

/** One layer's part of a directory. */
interface Part {
  readonly fd: number;
  readonly mapOwner: ((owner: Owner) => Owner) | undefined;
  /** The mount its layer is on: an overlay does not see what is mounted inside a layer. */
  readonly mount: number;
  readonly mayHoldXattrWhiteouts: boolean;
}

interface Frame {
  readonly path: string;
  readonly parts: readonly Part[];
  /** Which parts have a name, topmost first. */
  readonly names: readonly (readonly [name: string, parts: readonly Part[]])[];
  next: number;
}

/**
 * What layers show one above another, by overlayfs's own rules but without a mount: the topmost that has a name wins,
 * directories merge, what is hidden does not show. In the order of {@link walkLayer}, and without its privileges: an
 * ordinary user may read layers that only root could mount. The consumer may pass over a directory's contents as there.
 *
 * @param layers - topmost first
 */
export function* walkStack(layers: readonly StackedLayer[]): Generator<LayerEntry, void, 'skip' | undefined> {
  const stack: Frame[] = [];
  try {
    const top: Part[] = [];
    stack.push({ path: '', parts: top, names: [], next: 0 });
    for (const layer of layers) {
      const { directory, mapOwner } =
        typeof layer === 'object' && 'directory' in layer ? layer : { directory: layer, mapOwner: undefined };
      using root = openDirectory(directory);
      const fd = check('openat', enterChildDirectory(root.fd, '.'));
      const { mayHoldXattrWhiteouts } = directoryMarks(fd, '');
      top.push({ fd, mapOwner, mount: statFd(fd).mountId, mayHoldXattrWhiteouts });
    }
    stack.push({ ...readFrame('', top), parts: [] });
    for (let frame = stack.at(-1)!; stack.length > 1; frame = stack.at(-1)!) {
      const next = frame.names[frame.next++];
      if (!next) {
        for (const { fd } of stack.pop()!.parts) closeBound(fd);
        continue;
      }
      const [name, parts] = next;
      const found = lookUp(frame.path, name, parts);
      if (!found) continue;
      const answer = yield found.entry;
      const child =
        answer !== 'skip' && found.merges.length > 0 ? openFrame(found.entry.path, name, found.merges) : undefined;
      if (child) stack.push(child);
    }
  } finally {
    for (const { parts } of stack) for (const { fd } of parts) closeBound(fd);
  }
}

/** What a name is, and the parts whose directories of that name merge. */
function lookUp(
  parent: string,
  name: string,
  parts: readonly Part[],
): { entry: LayerEntry; merges: readonly Part[] } | undefined {
  let entry: LayerEntry | undefined;
  const merges: Part[] = [];
  for (const part of parts) {
    const { fd: dirFd, mount, mayHoldXattrWhiteouts, mapOwner } = part;
    const found = statAt(dirFd, name);
    if (!found) continue;
    const stat = mapOwner ? { ...found, ...mapOwner({ uid: found.uid, gid: found.gid }) } : found;
    if (isDeviceWhiteout(stat) || (mayHoldXattrWhiteouts && isXattrWhiteout(dirFd, name, stat))) break;
    // A directory hides a file below it, and a file hides everything.
    if (entry && !isDirectory(stat)) break;
    entry ??= { path: join(parent, name), parent, name, dirFd, stat, whiteout: false, opaque: false };
    if (!isDirectory(stat)) break;
    if (stat.mountId === mount) merges.push(part);
    if (directoryMarks(dirFd, name).opaque) break;
  }
  return entry && { entry, merges };
}

function openFrame(path: string, name: string, parts: readonly Part[]): Frame | undefined {
  const opened: Part[] = [];
  for (const part of parts) {
    const fd = enterChildDirectory(part.fd, name);
    // Removed or replaced since it was looked at.
    if (fd === -ERRNO.ENOENT || fd === -ERRNO.ENOTDIR || fd === -ERRNO.ELOOP) continue;
    if (fd < 0) for (const { fd: other } of opened) closeBound(other);
    check('openat', fd, { path });
    opened.push({ ...part, fd, mayHoldXattrWhiteouts: directoryMarks(fd, '').mayHoldXattrWhiteouts });
  }
  return opened.length > 0 ? readFrame(path, opened) : undefined;
}

function readFrame(path: string, parts: readonly Part[]): Frame {
  const names = new Map<string, Part[]>();
  for (const part of parts) {
    for (const { name } of readDirectory(part.fd)) {
      const known = names.get(name);
      if (known) known.push(part);
      else names.set(name, [part]);
    }
  }
  return { path, parts, names: [...names].sort(([a], [b]) => (a < b ? -1 : 1)), next: 0 };
}
