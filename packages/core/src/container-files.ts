import type { Readable } from 'node:stream';
import type { Step } from '@ns/launch';
import type { OwnedFd } from '@ns/libc';
import {
  type AppliedChanges,
  type ApplyChangesOptions,
  applyChanges,
  type Change,
  type CopiedTree,
  commit,
  copyTree,
  diffLayer,
  diffStream,
  discard,
  type StoredLayer,
  snapshot,
} from '@ns/overlayfs';

/** One overlay of a container: where it is mounted, where its changes are, what lies below. */
export interface ContainerOverlay {
  readonly target: string;
  readonly upper: string;
  readonly lower: readonly string[];
  readonly userxattr: boolean;
}

/**
 * The overlays of a plan, reachable from outside the container.
 *
 * @param scratch - the container's scratch file system, in which relative paths are
 */
export function overlaysOf(steps: readonly Step[], scratch: OwnedFd): ContainerOverlay[] {
  const sources = new Map(steps.flatMap((step) => (step.op === 'attachLayer' ? [[step.name, step.source]] : [])));
  return steps.flatMap((step) => {
    if (step.op === 'clone') return overlaysOf(step.child, scratch);
    if (step.op !== 'mountOverlay' || !step.upper) return [];
    const here = (path: string) => sources.get(path) ?? (path.startsWith('/') ? path : `${scratch.procPath}/${path}`);
    const upper = 'scratch' in step.upper ? here(`${step.upper.scratch}.upper`) : step.upper.upper;
    return [{ target: step.target, upper, lower: step.lower.map(here), userxattr: step.options.userxattr === true }];
  });
}

/** What a container changed, all its overlays together, sorted by path. */
export async function diffContainer(overlays: readonly ContainerOverlay[]): Promise<Change[]> {
  const changes = await Promise.all(
    overlays.map(async ({ target, upper, lower }) => {
      const found = await diffLayer(upper, lower);
      return found.map((change) => ({ ...change, path: target === '/' ? change.path : `${target}${change.path}` }));
    }),
  );
  return changes.flat().sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The changes below the root overlay as an OCI layer. */
export function streamContainerDiff([root]: readonly ContainerOverlay[]): Readable {
  return diffStream(root!.upper);
}

/** Makes the host's tree like the container's. */
export async function applyContainer(
  overlays: readonly ContainerOverlay[],
  target: string,
  { select = () => true, ...options }: ApplyChangesOptions,
): Promise<AppliedChanges> {
  const total = { written: 0, deleted: 0, skipped: [] as AppliedChanges['skipped'][number][] };
  for (const overlay of overlays) {
    const prefix = overlay.target === '/' ? '' : overlay.target;
    const { written, deleted, skipped } = await applyChanges(overlay.upper, `${target}${prefix}` || '/', {
      ...options,
      select: (path) => select(`${prefix}${path}`),
    });
    total.written += written;
    total.deleted += deleted;
    total.skipped.push(...skipped);
  }
  return total;
}

/** Forgets the changes. Nothing may be using them. */
export async function discardContainer(overlays: readonly ContainerOverlay[]): Promise<void> {
  for (const { upper } of overlays) await discard(upper);
}

/** Keeps the changes below the root overlay as a layer of a store. */
export function commitContainer([root]: readonly ContainerOverlay[], store: string): Promise<StoredLayer> {
  return commit(root!.upper, store);
}

/** A copy of the changes that can be a layer itself. */
export async function snapshotContainer([root]: readonly ContainerOverlay[], target: string): Promise<void> {
  await snapshot(root!.upper, target);
}

/** Copies into or out of a running container; its root is that of a process in it. */
export function copyAcross(
  from: { root: string; path: string },
  to: { root: string; path: string },
): Promise<CopiedTree> {
  return copyTree(from.root, from.path, to.root, to.path, { makeParents: true });
}
