import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { basename, isAbsolute, posix } from 'node:path';
import { Readable } from 'node:stream';
import { overlayDirectories, type Step } from '@ns/launch';
import { NsError, type OwnedFd, ResourceStack, UnavailableError } from '@ns/libc';
import { cloneMount, createUserNamespace, idmapMount } from '@ns/mounts';
import {
  type AppliedChanges,
  type ApplyChangesOptions,
  applyChanges,
  type Change,
  type CopiedTree,
  type CopyTreeOptions,
  commit,
  copyTree,
  createOverlay,
  type DirectoryPlace,
  diffLayer,
  diffStream,
  discard,
  type Owner,
  type PresentChange,
  type StoredLayer,
  snapshot,
  stackStream,
  treeStream,
} from '@ns/overlayfs';
import { type MapOwner, ownersInside, ownersOutside } from './file-owners.ts';
import { kernelAtLeast, readHost } from './host.ts';
import type { OpenedWrites } from './kept-writes.ts';
import type { LogSpec } from './log-location.ts';
import type { Patience } from './patience.ts';
import type { ContainerDesign } from './plan/container-plan.ts';
import { isAssembled, mountPoints } from './plan/root-steps.ts';
import type { RunHandle } from './run-handle.ts';
import type { ContainerSpec, Writable } from './types.ts';

/** One overlay of a container: where it is mounted, where its changes are, what lies below. */
export interface ContainerOverlay {
  readonly target: string;
  readonly upper: string;
  readonly work: string;
  readonly lower: readonly string[];
  readonly userxattr: boolean;
  /** Its upper in a scratch that begins with it. */
  readonly scratchName: string;
  /** It is in the scratch now: a mount that nobody but the container has. */
  readonly inScratch: boolean;
  /** It is one of several that the root is put together of. */
  readonly isPart: boolean;
  /** Nobody writes to it: it has the places of mounts, and nothing else. */
  readonly readonly: boolean;
  /** Owners as the container sees them, of those in `upper`; undefined when they are the same. */
  readonly inside: MapOwner | undefined;
  readonly idMaps: ContainerDesign['namespaces']['idMaps'];
  /** Owners in `lower` are those that the container sees. */
  readonly lowerInside: boolean;
  /** All its layers, topmost first, and how owners in each become those inside. */
  readonly layers: readonly { readonly directory: string; readonly mapOwner: MapOwner | undefined }[];
}

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

/**
 * The overlays of a plan, reachable from outside the container.
 *
 * @param places - where relative paths are: the scratch file system, and that of kept writes
 */
function overlaysOf(
  steps: readonly Step[],
  { root, namespaces }: Pick<ContainerDesign, 'root' | 'namespaces'>,
  places: { readonly scratch: string; readonly kept?: string | undefined },
): ContainerOverlay[] {
  const sources = new Map<string, string>();
  /** Layers of layers that are overlays themselves. */
  const stacked = new Map<string, readonly string[]>();
  if (places.kept !== undefined) sources.set('kept', places.kept);
  const inside = namespaces.idMaps && ownersInside(namespaces.idMaps);
  const lowerInside = (root.handles ?? []).length > 0;
  const here = (path: string): string => {
    if (path.startsWith('/')) return path;
    const [name = '', ...rest] = path.split('/');
    const source = sources.get(name);
    return source === undefined ? `${places.scratch}/${path}` : [source, ...rest].join('/');
  };
  const find = (list: readonly Step[]): ContainerOverlay[] =>
    list.flatMap((step) => {
      if (step.op === 'clone') return find(step.child);
      if (step.op === 'attachLayer' && !sources.has(step.name)) sources.set(step.name, step.source);
      if (step.op === 'mountOverlay' && step.layer !== undefined) stacked.set(step.layer, step.lower);
      if (step.op !== 'mountOverlay' || !step.upper) return [];
      const { upper, work } = overlayDirectories(step.upper);
      const below = step.lower.flatMap((path) => stacked.get(path) ?? [path]);
      const lower = below.map((path) => ({
        directory: here(path),
        // Layers with mapped ids have those inside on disk.
        mapOwner: path.startsWith('layer-') && lowerInside ? undefined : inside,
      }));
      return [
        {
          target: step.target,
          upper: here(upper),
          work: here(work),
          lower: lower.map(({ directory }) => directory),
          layers: [{ directory: here(upper), mapOwner: inside }, ...lower],
          userxattr: step.options.userxattr === true,
          scratchName: 'upper' in step.upper ? 'root' : basename(upper, '.upper'),
          inScratch: 'scratch' in step.upper,
          isPart: isAssembled(root, inside !== undefined),
          readonly: root.writable === 'none',
          inside,
          idMaps: namespaces.idMaps,
          lowerInside,
        },
      ];
    });
  return find(steps);
}

/**
 * The overlays of a container, which stay where they are said to be until this is disposed of: whoever removes it meanwhile, or
 * starts it again, would give the numbers of its descriptors, and with them these paths, to other files.
 */
export class HeldOverlays implements Disposable {
  readonly overlays: readonly ContainerOverlay[];
  readonly #held = new ResourceStack();

  constructor(
    { plan, design }: Pick<RunHandle, 'plan' | 'design'>,
    { scratch, kept }: { scratch: OwnedFd | undefined; kept: OpenedWrites | undefined },
  ) {
    this.overlays =
      plan && scratch
        ? overlaysOf(plan.steps, design, {
            scratch: this.#held.use(scratch.duplicate()).procPath,
            kept: kept?.mount ? this.#held.use(kept.mount.duplicate()).procPath : kept?.path,
          })
        : [];
  }

  /** Holds them for as long as somebody reads. */
  stream(make: (overlays: readonly ContainerOverlay[]) => Readable): Readable {
    const dispose = () => this[Symbol.dispose]();
    try {
      return make(this.overlays).once('close', dispose);
    } catch (error) {
      dispose();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}

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

const isEmpty = (directory: string): boolean => readdirSync(directory).length === 0;

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
    mkdirSync(place, { mode: statSync(upper).mode & 0o7777 });
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

/** Upper layers that another scratch begins with. */
export type FirstFiles = Pick<ContainerOverlay, 'upper' | 'scratchName' | 'readonly' | 'inside' | 'idMaps'>;

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

/** What a fork has of its origin: not its name, and no directory to write or log to, which can be but one container's. */
export function specToFork({ name: _, writable, rootfs, log, ...spec }: ContainerSpec): Omit<ContainerSpec, 'name'> {
  const own = (chosen: Writable | undefined) => typeof chosen === 'object' && ('dir' in chosen || 'upper' in chosen);
  const { writable: ofRoot, ...layers } = typeof rootfs === 'object' && 'layers' in rootfs ? rootfs : { layers: [] };
  return {
    ...spec,
    ...(log && { log: withoutDirectory(log) }),
    ...(rootfs !== undefined && { rootfs: own(ofRoot) ? layers : rootfs }),
    ...(writable !== undefined && !own(writable) && { writable }),
  };
}

/** A fork's log is with its state. */
function withoutDirectory({ directory: _, ...log }: LogSpec): LogSpec {
  return log;
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

function rootOverlay(overlays: readonly ContainerOverlay[]): ContainerOverlay {
  const root = overlays.find(({ target, isPart }) => target === '/' && !isPart);
  if (root) return root;
  if (overlays.length > 0)
    throw new NsError('ERR_NS_NO_LAYER', 'in a user namespace a view of this machine has a layer for each directory', {
      hint: 'Copy and export while it runs; diff(), apply(), discard() and fork() know all layers. Or give a rootfs that is one directory',
    });
  throw new NsError('ERR_NS_NO_LAYER', 'what the container writes is in no layer of its own', {
    hint: "Let writes go to a layer: writable: 'tmpfs' or directories, and a root that is one overlay",
  });
}
