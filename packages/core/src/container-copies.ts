import { isAbsolute, posix } from 'node:path';
import { Readable } from 'node:stream';
import { type OwnedFd, ResourceStack, UnavailableError } from '@ns/libc';
import { cloneMount, createUserNamespace, idmapMount } from '@ns/mounts';
import {
  type CopiedTree,
  type CopyTreeOptions,
  copyTree,
  createOverlay,
  type DirectoryPlace,
  type Owner,
  stackStream,
  treeStream,
} from '@ns/overlayfs';
import { type HeldOverlays, rootOverlay } from './container-overlays.ts';
import { type MapOwner, ownersInside, ownersOutside } from './file-owners.ts';
import { kernelAtLeast, readHost } from './host.ts';
import type { Patience } from './patience.ts';
import type { ContainerDesign } from './plan/container-plan.ts';
import { isAssembled, mountPoints } from './plan/root-steps.ts';

/**
 * Whose the files are that are copied, and how long that may take: who loses patience finds some of them copied.
 *
 * `keep`: ids inside the container are those outside. `ignore`: whoever copies makes them, root inside. An owner: his, on the
 * side they are copied to.
 */
export interface CopyOptions extends Patience {
  /** Default `keep` as root, `ignore` otherwise. */
  readonly ownership?: 'keep' | 'ignore' | Owner;
  /**
   * `drop`: no devices, no set-user-ID, set-group-ID or file capabilities; `skipped` names each. For what somebody untrusted
   * has made. Default `keep`, but for `copyOut` that gives files to others than inside, as an ordinary user's does.
   */
  readonly privileges?: 'keep' | 'drop';
}

/** How a root is written down, and how long that may take: the stream is destroyed with the reason. */
export interface ExportOptions extends Patience {
  /** Owner as it shall stand in the archive, of the one inside. Default: as inside. */
  readonly mapOwner?: MapOwner;
  /** Paths (without leading slash) to leave out, with all below. */
  readonly exclude?: (path: string) => boolean;
}

/** The root of a container that runs, as its processes have it; or of one that does not, put together again. */
export type ContainerRoot =
  | {
      open(): Promise<OwnedFd>;
      /** Refuses when it ends meanwhile. */
      whileItRuns<T>(signal: AbortSignal | undefined, act: (signal: AbortSignal) => Promise<T>): Promise<T>;
    }
  | HeldOverlays;

/** The whole file system without what is mounted in it, owners as they are inside. */
export function exportContainer(
  root: ContainerRoot,
  { namespaces, ...design }: Pick<ContainerDesign, 'root' | 'namespaces' | 'mounts'>,
  options: ExportOptions,
): Readable {
  const inside = namespaces.idMaps && ownersInside(namespaces.idMaps);
  const { mapOwner: chosen, ...rest } = options;
  const mapOwner = inside && chosen ? (owner: Owner) => chosen(inside(owner)) : (chosen ?? inside);
  if ('open' in root) {
    return Readable.from(
      (async function* () {
        using place = await root.open();
        // Of the host's files, those that nobody may read in that user namespace are in no archive of it either.
        const assembled = inside && isAssembled(design.root, true);
        const parts = assembled && ({ crossMounts: partsOf(design), readableOnly: true } as const);
        yield* treeStream(place, { ...rest, ...parts, ...(mapOwner && { mapOwner }) });
      })(),
      { objectMode: false },
    );
  }
  return root.stream((overlays) =>
    stackStream(rootOverlay(overlays).layers, { ...rest, ...(chosen && { mapOwner: chosen }) }),
  );
}

/** Where the directories of this machine are mounted that a root is put together of, and nothing else is. */
function partsOf({ root, mounts }: Pick<ContainerDesign, 'root' | 'mounts'>): (path: string) => boolean {
  const targets = mounts.flatMap((step) => ('target' in step ? [posix.resolve(step.target)] : []));
  const others = new Set([...mountPoints, ...root.hide, ...targets]);
  return (path) => !path.includes('/') && !others.has(`/${path}`);
}

/**
 * Copies a file or tree from the host. A container that ends meanwhile has a part of it: what came later would come between its
 * next run and the files of that.
 *
 * @param from - on the host
 */
export function copyIntoContainer(
  root: ContainerRoot,
  { idMaps }: ContainerDesign['namespaces'],
  { from, to, ...options }: CopyOptions & { from: string; to: string },
): Promise<CopiedTree> {
  const outside = idMaps && ownersOutside(idMaps);
  const createAs = outside && mayChangeOwners() ? outside({ uid: 0, gid: 0 }) : undefined;
  const copy = (signal: AbortSignal | undefined) =>
    withRoot(root, idMaps, (place) =>
      copyTree('/', onHost(from), place, to, {
        ...copyOptions({ ...options, ...(signal && { signal }) }, outside, outside),
        makeParents: true,
        ...(createAs && { createAs }),
      }),
    );
  return 'open' in root ? root.whileItRuns(options.signal, copy) : copy(options.signal);
}

/** Copies a file or tree to the host. Links in it lead nowhere outside (CVE-2018-15664). */
export function copyOutOfContainer(
  root: ContainerRoot,
  { idMaps }: ContainerDesign['namespaces'],
  { from, to, ...options }: CopyOptions & { from: string; to: string },
): Promise<CopiedTree> {
  const inside = idMaps && mayChangeOwners() ? ownersInside(idMaps) : undefined;
  const { ownership = mayChangeOwners() ? 'keep' : 'ignore' } = options;
  // As cp(1) does: what lets others act as its owner was not said of whoever that is now.
  const { privileges = ownership === 'keep' ? 'keep' : 'drop' } = options;
  return withRoot(root, idMaps, (place) =>
    copyTree(place, from, '/', onHost(to), { ...copyOptions({ ...options, privileges }, inside), makeParents: true }),
  );
}

/** As for every program, from the working directory on. What ends with a slash goes on doing so: it is a directory. */
function onHost(path: string): string {
  // As it is said: "dir/." is what is in it, and "link/.." not the directory of the link.
  return isAbsolute(path) ? path : `${process.cwd()}/${path}`;
}

function copyOptions(
  { ownership, privileges, signal }: CopyOptions,
  mapOwner: MapOwner | undefined,
  mapChosen: MapOwner = (owner) => owner,
): Pick<CopyTreeOptions, 'ownership' | 'privileges' | 'mapOwner' | 'signal'> {
  const common = { ...(privileges && { privileges }), ...(signal && { signal }) };
  if (typeof ownership === 'object') return { ...common, ownership: 'keep', mapOwner: () => mapChosen(ownership) };
  return { ...common, ...(ownership && { ownership }), ...(mapOwner && { mapOwner }) };
}

const mayChangeOwners = () => process.geteuid!() === 0;

/** A container that does not run is mounted for as long as it takes, where nobody sees it. */
async function withRoot<T>(
  root: ContainerRoot,
  idMaps: ContainerDesign['namespaces']['idMaps'],
  use: (place: DirectoryPlace) => Promise<T>,
): Promise<T> {
  if ('open' in root) {
    using place = await root.open();
    return await use(place);
  }
  using held = new ResourceStack();
  const { upper, work, layers, userxattr, inScratch } = rootOverlay(held.use(root).overlays);
  const lower: DirectoryPlace[] = [];
  for (const { directory, mapOwner } of layers.slice(1)) {
    if (!idMaps || mapOwner) lower.push(directory);
    else {
      const mount = held.use(cloneMount(directory));
      using namespace = await createUserNamespace(idMaps);
      idmapMount(mount, namespace);
      lower.push(mount);
    }
  }
  const mountedNowhere = inScratch || lower.some((layer) => typeof layer !== 'string');
  if (mountedNowhere && !kernelAtLeast(readHost(), 6, 15))
    throw new UnavailableError(
      'copying into and out of a stopped container',
      'before Linux 6.15 no overlay can be made of file systems that are mounted nowhere',
      'Copy while it runs, export() it, or let it write to a directory and have the ids of the host: writable: { dir }',
    );
  const mounter = idMaps && ownersOutside(idMaps)({ uid: 0, gid: 0 });
  using mount = createOverlay({ lower, upper, work, userxattr, ...(mounter && { mounter }) });
  return await use(mount);
}
