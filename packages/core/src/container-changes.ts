import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { fileCall } from '@ns/libc';
import {
  type AppliedChanges,
  type ApplyChangesOptions,
  applyChanges,
  type Change,
  commit,
  diffLayer,
  diffStream,
  discard,
  type Owner,
  type PresentChange,
  type StoredLayer,
  snapshot,
} from '@ns/overlayfs';
import { type ContainerOverlay, type FirstFiles, rootOverlay } from './container-overlays.ts';
import type { MapOwner } from './file-owners.ts';

/** What a container changed, all its overlays together, sorted by path. Owners are those that it sees. */
export async function diffContainer(overlays: readonly ContainerOverlay[], signal: AbortSignal): Promise<Change[]> {
  const isCovered = coveredBy(overlays);
  const changes = await Promise.all(
    overlays.map(async ({ target, upper, lower, layers, inside, lowerInside }) => {
      // What lies below need not be looked at, nor may it by an ordinary user: /lost+found.
      if (isEmpty(upper)) return [];
      // Of the layers that lie below, those of the container's own making have its ids on the host.
      const found =
        lowerInside && inside
          ? await diffLayer(upper, layers.slice(1), { mapOwner: inside, signal })
          : await diffLayer(upper, lower, { signal });
      // Layers whose ids are not mapped are compared as they are on the host.
      const seen = lowerInside || !inside ? found : found.map((change) => withOwners(change, inside));
      if (target !== '/') return seen.map((change) => ({ ...change, path: `${target}${change.path}` }));
      return seen.filter(({ path }) => !isCovered(path));
    }),
  );
  return changes.flat().sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * Is a path of the root below the place of another overlay? What is there was written at an earlier start, when there could be
 * no overlay; now nobody sees it.
 */
function coveredBy(overlays: readonly ContainerOverlay[]): (path: string) => boolean {
  const places = overlays.filter(({ upper, target, isPart }) => isPart && target !== '/' && !isEmpty(upper));
  return (path) => places.some(({ target }) => path === target || path.startsWith(`${target}/`));
}

const isEmpty = (directory: string): boolean => fileCall(directory, () => readdirSync(directory)).length === 0;

function withOwners(change: Change, mapOwner: MapOwner): Change {
  const mapped = <File extends Partial<Owner>>(file: File): File =>
    file.uid === undefined || file.gid === undefined
      ? file
      : { ...file, ...mapOwner({ uid: file.uid, gid: file.gid }) };
  const { before } = change as PresentChange;
  return { ...mapped(change), ...(before && { before: mapped(before) }) };
}

/** The changes below the root overlay as an OCI layer, owners as they are inside. */
export function streamContainerDiff(overlays: readonly ContainerOverlay[]): Readable {
  const { upper, inside } = rootOverlay(overlays);
  return diffStream(upper, inside ? { mapOwner: inside } : {});
}

/** Makes the host's tree like the container's. */
export async function applyContainer(
  overlays: readonly ContainerOverlay[],
  target: string,
  { select = () => true, ...options }: ApplyChangesOptions,
): Promise<AppliedChanges> {
  const total = { written: 0, deleted: 0, skipped: [] as AppliedChanges['skipped'][number][] };
  const isCovered = coveredBy(overlays);
  for (const overlay of overlays) {
    const prefix = overlay.target === '/' ? '' : overlay.target;
    const accepts = (path: string) => (prefix !== '' || !isCovered(path)) && select(`${prefix}${path}`);
    if (!(await placeForChanges(overlay, `${target}${prefix}`, accepts))) continue;
    const { written, deleted, skipped } = await applyChanges(overlay.upper, `${target}${prefix}` || '/', {
      ...(overlay.inside && { mapOwner: overlay.inside }),
      ...options,
      select: accepts,
    });
    total.written += written;
    total.deleted += deleted;
    total.skipped.push(...skipped);
  }
  return total;
}

/** Is there something to accept? Then there is a directory for it, as there would be below the layer of a whole root. */
async function placeForChanges(
  { upper, isPart }: ContainerOverlay,
  place: string,
  select: (path: string) => boolean,
): Promise<boolean> {
  if (isEmpty(upper)) return false;
  if (!isPart || place === '' || existsSync(place)) return true;
  for await (const { path } of diffLayer(upper)) {
    if (!select(path)) continue;
    fileCall(place, () => mkdirSync(place, { mode: statSync(upper).mode & 0o7777 }));
    return true;
  }
  return false;
}

/** Forgets the changes. Nothing may be using them. */
export async function discardContainer(overlays: readonly ContainerOverlay[]): Promise<void> {
  for (const { upper } of overlays) await discard(upper);
}

/** Keeps the changes below the root overlay as a layer of a store, owners as they are inside. */
export function commitContainer(overlays: readonly ContainerOverlay[], store: string): Promise<StoredLayer> {
  const { upper, inside } = rootOverlay(overlays);
  return commit(upper, store, inside ? { mapOwner: inside } : {});
}

/**
 * Puts a copy of all changes into another container's scratch.
 *
 * @param outside - owners there, of those inside
 */
export async function snapshotContainer(
  overlays: readonly FirstFiles[],
  scratch: string,
  outside: MapOwner | undefined,
): Promise<void> {
  for (const { upper, scratchName, inside } of overlays) {
    const mapOwner = (owner: Owner) => {
      const within = inside ? inside(owner) : owner;
      return outside ? outside(within) : within;
    };
    await snapshot(upper, `${scratch}/${scratchName}.upper`, {
      portable: true,
      ...((inside || outside) && { mapOwner }),
    });
  }
}
