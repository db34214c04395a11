import { createHash } from 'node:crypto';
import { parseSize } from '@ns/cgroups';
import type { IdMaps, LayerDirectory, OverlayUpper, Step } from '@ns/launch';
import { MAX_LOWER_LAYERS, type Owner } from '@ns/overlayfs';
import { givableOwners } from '../file-owners.ts';
import { type Host, kernelAtLeast } from '../host.ts';
import type { ResolvedRoot } from '../rootfs.ts';

/** Directories that mounts of our own go on. In the covering layer they are plain ones, whatever an image has there. */
export const mountPoints = ['/proc', '/sys', '/dev'];

// Some kernels are built to follow redirects of a hostile upper layer: say no to each by name.
const overlayOptions = { redirect_dir: 'nofollow', metacopy: 'off', index: 'off', xino: 'off' };

/** A file placed in the root. */
export interface PlacedFile {
  readonly path: string;
  readonly content: string;
}

/** What becomes of the scratch file system. */
export interface ScratchUse {
  /** There is one, with the layers of an earlier start or of another container. */
  readonly reuse: boolean;
  /** It has its covering layer already. */
  readonly covered: boolean;
  /** The caller keeps it. */
  readonly handOver: boolean;
}

/** What the steps depend on besides the root itself. */
export interface RootContext {
  readonly files: readonly PlacedFile[];
  readonly scratch: ScratchUse;
  /** Of the user namespace it is made in, if any. */
  readonly idMaps: IdMaps | undefined;
  /** Directories have to be made in it before it may be read-only. */
  readonly lacksPlaces: boolean;
}

/** Of the tmpfs that holds what a container writes. */
export function scratchOptions({
  writable,
  elsewhere,
}: Pick<ResolvedRoot, 'writable' | 'elsewhere'>): Record<string, string> {
  const limited = typeof writable === 'object' && 'tmpfs' in writable;
  if (!limited && !elsewhere) return { mode: '0755' };
  const { size, inodes } = limited ? { ...writable, size: writable.tmpfs } : elsewhere!;
  return {
    mode: '0755',
    size: String(parseSize(size, 'writable.size')),
    ...(inodes !== undefined && { nr_inodes: String(inodes) }),
  };
}

/** Is the root an overlay of our own directories, with a mount on each for one of the host? */
export function isAssembled(root: ResolvedRoot, userNamespace: boolean): boolean {
  return root.host && userNamespace;
}

/** Steps that put the root file system together. */
export function rootSteps(
  root: ResolvedRoot,
  { files, scratch: { reuse, covered, handOver }, idMaps, lacksPlaces }: RootContext,
  host: Host,
): Step[] {
  const userNamespace = idMaps !== undefined;
  const scratch: Step = {
    op: 'mountScratch',
    options: scratchOptions(root),
    ...(reuse && { reuse: 'scratch' }),
    handOver,
  };
  const kept: Step[] = root.kept
    ? [{ op: 'attachLayer', mount: root.kept.mount, name: 'kept', source: root.kept.mount }]
    : [];
  if (idMaps && isAssembled(root, userNamespace))
    return [scratch, ...kept, ...assembledHostRoot(root, { files, idMaps }, host)];
  const handles = root.handles ?? [];
  if (root.kind === 'bind') {
    const [source, mount] = [root.layers[0]!, handles[0]];
    return [scratch, { op: 'bindRoot', source, attributes: ['nodev'], ...(mount !== undefined && { mount }) }];
  }

  const common = {
    options: { ...overlayOptions, ...(userNamespace && { userxattr: true as const }) },
    attributes: ['nodev'] as const,
    appendLower: kernelAtLeast(host, 6, 8),
  };
  const overlay: OverlayOf = (target, lower, upper) => ({
    op: 'mountOverlay',
    target,
    lower,
    ...((root.writable !== 'none' || lacksPlaces) && { upper }),
    ...common,
  });
  const layers = handles.length > 0 ? handles.map((_, i) => `layer-${i}`) : root.layers;
  const { top, bottom } = withinLimit(layers);
  return [
    scratch,
    ...handles.map(
      (mount, i): Step => ({ op: 'attachLayer', mount, name: layers[i]!, source: root.layers[i]!, idsMapped: true }),
    ),
    ...kept,
    ...(covered ? [] : [coverLayer(root, files, host, idMaps)]),
    ...bottom.map((lower): Step => ({ op: 'mountOverlay', target: '/', layer: BOTTOM_LAYER, lower, ...common })),
    overlay('/', ['cover', ...top], upperOf(root)),
    ...(root.host ? hostDataSteps(root, overlay, host) : []),
  ];
}

type ScratchUpper = Extract<OverlayUpper, { scratch: string }>;

type OverlayOf = (
  target: string,
  lower: readonly string[],
  upper: OverlayUpper,
) => Extract<Step, { op: 'mountOverlay' }>;

/** Where what is written to the root goes. */
function upperOf({ kept, writable }: ResolvedRoot): OverlayUpper {
  if (kept) return { upper: `kept/${kept.upper}`, work: `kept/${kept.work}` };
  return typeof writable === 'object' && 'upper' in writable ? writable : { scratch: 'root' };
}

/** What is mounted below the host's root: each with an overlay of its own, or read-only. */
function hostDataSteps(root: ResolvedRoot, overlay: OverlayOf, host: Host): Step[] {
  const visible = host.dataMounts.filter(
    ({ path }) => !root.hide.some((hidden) => path === hidden || path.startsWith(`${hidden}/`)),
  );
  // Other programs mount and unmount while we look: what is gone by then is left out.
  return visible.map(({ path, readonly }): Step => {
    const type = host.stat(path)?.type === 'file' ? 'file' : 'directory';
    if (!readonly && root.writable !== 'none' && type === 'directory')
      return { ...overlay(path, [path], scratchUpper(path, host)), optional: ['ENOENT', 'EINVAL'] };
    const attributes = ['ro', 'nosuid', 'nodev'] as const;
    return { op: 'bind', source: path, target: path, type, attributes, recursive: false, optional: true };
  });
}

/** Name in the scratch of an overlay of the bottom layers. */
const BOTTOM_LAYER = 'bottom';

/** How many layers of an image a container can have: one place of the kernel's goes to the cover, one to the bottom. */
export const MAX_IMAGE_LAYERS = 2 * MAX_LOWER_LAYERS - 2;

/**
 * No overlay has more layers than the kernel takes: of more than that, the bottom ones become a read-only overlay of their
 * own. Only the bottom ones may: whiteouts have no effect below the overlay they are merged in.
 */
function withinLimit(layers: readonly string[]): { top: readonly string[]; bottom: readonly (readonly string[])[] } {
  if (layers.length + 1 <= MAX_LOWER_LAYERS) return { top: layers, bottom: [] };
  const kept = MAX_LOWER_LAYERS - 2;
  return { top: [...layers.slice(0, kept), BOTTOM_LAYER], bottom: [layers.slice(kept)] };
}

/** The layer above the image's: mount points that are no links, hidden places, and files that Docker also gives. */
function coverLayer(root: ResolvedRoot, files: readonly PlacedFile[], host: Host, idMaps: IdMaps | undefined): Step {
  const given = idMaps
    ? givableOwners(idMaps, (root.handles ?? []).length > 0 ? 'inside' : 'outside')
    : ({ uid, gid }: Owner) => ({ uid, gid });
  const look = (path: string) =>
    root.layers.map((layer) => host.stat(layer === '/' ? path : layer + path)).find((found) => found !== undefined);
  const directories: LayerDirectory[] = mountPoints.map((path) => ({ path, mode: 0o755, uid: 0, gid: 0 }));
  const absent: string[] = [];
  const hide = root.hide.filter((path) => !root.hide.some((other) => path !== other && path.startsWith(`${other}/`)));
  for (const path of hide) {
    const file = look(path);
    if (file?.type === 'directory') directories.push({ path, mode: file.mode, ...given(file) });
    else if (file) absent.push(path);
  }
  const covered = new Set(directories.map(({ path }) => path));
  const parents = new Map<string, LayerDirectory>();
  // As in Docker's init layer: an image may bring a file with another machine's mounts.
  const links: Record<string, string> = root.host ? {} : { '/etc/mtab': '/proc/mounts' };
  for (const path of [...covered, ...absent, ...Object.keys(links), ...files.map((file) => file.path)]) {
    const parts = path.split('/').slice(1, -1);
    parts.forEach((_, i) => {
      const parent = `/${parts.slice(0, i + 1).join('/')}`;
      if (covered.has(parent) || parents.has(parent)) return;
      const file = look(parent);
      parents.set(parent, {
        path: parent,
        mode: file?.type === 'directory' ? file.mode : 0o755,
        ...(file ? given(file) : { uid: 0, gid: 0 }),
      });
    });
  }
  return {
    op: 'coverLayer',
    parents: [...parents.values()],
    directories,
    absent,
    files,
    links,
    xattr: idMaps ? 'user' : 'trusted',
  };
}

/**
 * The host's root in a user namespace. The kernel does not let an overlay look under mounts that a user namespace must
 * keep (CVE-2021-3732), and "/" is full of them: so each top-level directory becomes an overlay of its own, and those
 * with mounts inside are bound read-only. Which those are is seen at the start: mounts come and go. What they are mounted
 * on is an overlay, too: what is written beside them is a change like any other.
 */
function assembledHostRoot(
  root: ResolvedRoot,
  { files, idMaps }: { readonly files: readonly PlacedFile[]; readonly idMaps: IdMaps },
  host: Host,
): Step[] {
  const replaced = new Set([...mountPoints, ...root.hide]);
  const entries = host.topLevel().filter(({ path }) => !replaced.has(path));
  const links = Object.fromEntries(entries.flatMap(({ path, link }) => (link === undefined ? [] : [[path, link]])));
  const directories = entries.filter(({ link }) => link === undefined).map(({ path }) => path);
  const isReadonly = (path: string) =>
    root.writable === 'none' || host.dataMounts.some((mount) => mount.path === path && mount.readonly);
  // What a program writes to without asking must be writable: empty, where the host's cannot be shown so.
  const mayBeEmpty = (path: string) => path === '/tmp' && root.writable !== 'none';
  const empty = root.hide.filter((path) => isTopLevel(path) && host.stat(path)?.type === 'directory');
  const given = givableOwners(idMaps, 'outside');
  const overlay = {
    op: 'mountOverlay',
    options: { ...overlayOptions, userxattr: true },
    attributes: ['nosuid', 'nodev'],
    appendLower: kernelAtLeast(host, 6, 8),
  } as const;
  return [
    {
      op: 'emptyLayer',
      directories: [
        ...mountPoints.map((path) => ({ path, mode: 0o755, uid: 0, gid: 0 })),
        ...[...directories, ...empty].map((path) => {
          const { mode, ...owner } = host.stat(path) ?? { mode: 0o755, uid: 0, gid: 0 };
          return { path, mode, ...given(owner) };
        }),
      ],
      links,
    },
    { ...overlay, target: '/', lower: ['tree'], upper: keptWhole(root, { scratch: 'root' }) },
    ...directories.flatMap((path): Step[] => {
      const over = (lower: string) => ({
        ...overlay,
        target: path,
        lower: [lower],
        upper: keptWhole(root, scratchUpper(path, host)),
      });
      // The same writes, whatever it shows: that may be another thing at the next start.
      const shown = mayBeEmpty(path) ? over(`tree${path}`) : boundReadonly(path);
      return [isReadonly(path) ? shown : { ...over(path), instead: shown }];
    }),
    ...files.map(
      ({ path, content }): Step => ({
        op: 'file',
        target: path,
        content,
        ...{ mode: 0o644, uid: 0, gid: 0 },
        writable: true,
        optional: true,
      }),
    ),
  ];
}

/** An upper layer of a root that has several: all are where writes are kept, if they are. */
function keptWhole({ kept, keptIn }: ResolvedRoot, { scratch, ...top }: ScratchUpper): OverlayUpper {
  const place = kept ? 'kept' : keptIn;
  return place === undefined ? { scratch, ...top } : { kept: `${place}/${scratch}`, ...top };
}

function boundReadonly(path: string): Extract<Step, { op: 'bind' }> {
  const attributes = ['ro', 'nosuid', 'nodev'] as const;
  return { op: 'bind', source: path, target: path, type: 'directory', attributes, recursive: true };
}

/** Paths that are hidden by masks, because no layer of ours covers them. */
export function hiddenByMask(root: ResolvedRoot, userNamespace: boolean, host: Host): readonly string[] {
  if (!root.host) return [];
  if (isAssembled(root, userNamespace)) return root.hide.filter((path) => !isTopLevel(path));
  // The layer that covers the root does not reach into what is mounted in it, as /var often is.
  return root.hide.filter((path) => host.dataMounts.some((mount) => path.startsWith(`${mount.path}/`)));
}

function isTopLevel(path: string): boolean {
  return path.lastIndexOf('/') === 0;
}

/**
 * An upper layer whose top directory, which decides what the merged one looks like, is like the lower's. Named by its place:
 * what is mounted on the host may be something else at the next start.
 */
function scratchUpper(path: string, host: Host): ScratchUpper {
  const { mode = 0o755, uid = 0, gid = 0 } = host.stat(path) ?? {};
  const name = encodeURIComponent(path.slice(1));
  return {
    scratch: `at-${name.length < 200 ? name : createHash('sha256').update(path).digest('hex')}`,
    mode,
    uid,
    gid,
  };
}
