import { statSync } from 'node:fs';
import { NsError, SpecError } from '@ns/libc';
import { hiddenPaths } from './defaults.ts';
import { dataOfKept, type KeptWrites, layersOfKept } from './kept-writes.ts';
import { MAX_IMAGE_LAYERS } from './plan/root-steps.ts';
import { rootOfOthers, sharesMounts } from './shared-mounts.ts';
import type { ContainerSpec, Size, Writable } from './types.ts';

/** Where a root comes from, with its defaults filled in. */
export interface ResolvedRoot {
  /** `overlay`: layers with writes elsewhere. `bind`: one directory itself. `shared`: that of others, whose mounts it is in. */
  readonly kind: 'overlay' | 'bind' | 'shared';
  /** Topmost first. */
  readonly layers: readonly string[];
  readonly writable: Exclude<Writable, KeptWrites | { size: Size }>;
  /** It is the host's own file system. */
  readonly host: boolean;
  /** Names of descriptors of the layers, where their ids are mapped to the container's. */
  readonly handles?: readonly string[];
  /** Name of a descriptor of the mount that holds the upper and work directories, where they are not opened by path; where in it they are. */
  readonly kept?: { readonly mount: string; readonly upper: string; readonly work: string };
  /** The directory that keeps all that is written, where the root has more than one place for it. */
  readonly keptIn?: string;
  /** Bounds what is written outside of it, in mounts of the host, where `writable` has a size of its own. */
  readonly elsewhere?: { readonly size: Size; readonly inodes?: number };
  /** Paths to take out of view. */
  readonly hide: readonly string[];
}

/**
 * Decides what the root is made of.
 *
 * @throws NsError `ERR_NS_ROOTFS` when a directory is missing or is none
 */
export function resolveRoot(spec: Pick<ContainerSpec, 'rootfs' | 'writable' | 'namespaces'>): ResolvedRoot {
  if (sharesMounts(spec))
    return { kind: 'shared', layers: [rootOfOthers(spec)], writable: 'none', host: false, hide: [] };
  const { rootfs = { host: true }, writable } = spec;
  // "/" can only mean the view of this machine.
  if (rootfs === '/') return resolveRoot({ rootfs: { host: true }, ...(writable && { writable }) });
  if (typeof rootfs === 'string') return rooted([rootfs], writable ?? 'tmpfs');
  if ('host' in rootfs) {
    if (writable === 'direct')
      throw new SpecError(
        'writable',
        "'tmpfs', 'none' or directories",
        writable,
        "The host's own file system is never written: bind a directory with `mounts` instead",
      );
    assertWritable(writable);
    const { hide = [], show = [] } = rootfs;
    const hidden = [...hiddenPaths, ...hide].map(trimSlash).filter((path) => !show.map(trimSlash).includes(path));
    return {
      kind: 'overlay',
      layers: ['/'],
      writable: resolveWritable(writable),
      ...(typeof writable === 'object' && 'dir' in writable && { keptIn: dataOfKept(writable), ...sizeOf(writable) }),
      host: true,
      hide: [...new Set(hidden)],
    };
  }
  if ('dir' in rootfs) return rooted([rootfs.dir], rootfs.readonly ? 'none' : (writable ?? 'tmpfs'));
  if (rootfs.writable === 'direct' || writable === 'direct') {
    if (rootfs.layers.length > 1)
      throw new SpecError(
        'writable',
        "'tmpfs', 'none' or directories",
        'direct',
        'Several layers have no one directory to write to',
      );
  }
  return rooted(rootfs.layers, rootfs.writable ?? writable ?? 'tmpfs');
}

/**
 * Can it be kept what is written to this root?
 *
 * @throws SpecError one upper directory was given, and it has more
 */
export function assertKeepsAll({ writable, keptIn }: ResolvedRoot): void {
  if (typeof writable !== 'object' || !('upper' in writable) || keptIn !== undefined) return;
  throw new SpecError(
    'writable',
    "'tmpfs', 'none' or { dir }",
    writable,
    "With ids of its own, a view of this machine has a layer for each directory of '/': writable: { dir } keeps them all. Or give a rootfs that is one directory",
  );
}

function resolveWritable(writable: Writable = 'tmpfs'): ResolvedRoot['writable'] {
  if (typeof writable !== 'object') return writable;
  if ('dir' in writable) return layersOfKept(writable);
  if (!('size' in writable)) return writable;
  const { size: tmpfs, inodes } = writable;
  return { tmpfs, ...(inodes !== undefined && { inodes }) };
}

function sizeOf({ size, inodes }: KeptWrites): Pick<ResolvedRoot, 'elsewhere'> {
  return size === undefined ? {} : { elsewhere: { size, ...(inodes !== undefined && { inodes }) } };
}

function rooted(layers: readonly string[], writable: Writable): ResolvedRoot {
  if (layers.length > MAX_IMAGE_LAYERS)
    throw new SpecError(
      'rootfs.layers',
      `at most ${MAX_IMAGE_LAYERS} layers: the kernel stacks overlays two deep`,
      layers.length,
      'Merge layers with applyLayer of @ns/overlayfs into one directory',
    );
  for (const path of layers) assertDirectory(path, 'rootfs');
  assertWritable(writable);
  return {
    kind: writable === 'direct' ? 'bind' : 'overlay',
    layers,
    writable: resolveWritable(writable),
    host: false,
    hide: [],
  };
}

function assertWritable(writable: Writable | undefined): void {
  if (typeof writable !== 'object' || !('upper' in writable)) return;
  assertDirectory(writable.upper, 'writable.upper');
  assertDirectory(writable.work, 'writable.work');
}

function assertDirectory(path: string, field: string): void {
  const { why, cause } = whyNoDirectory(path);
  if (why === undefined) return;
  const hint =
    field === 'rootfs'
      ? 'Give the path of an unpacked root file system, or { host: true } for a view of this machine'
      : 'Make it first, on the file system that shall keep what is written';
  throw new NsError('ERR_NS_ROOTFS', `${field}: ${path} ${why}`, { hint, ...(cause !== undefined && { cause }) });
}

function whyNoDirectory(path: string): { readonly why?: string; readonly cause?: unknown } {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat === undefined ? { why: 'does not exist' } : stat.isDirectory() ? {} : { why: 'is not a directory' };
  } catch (cause) {
    // EACCES of a directory above it, ELOOP, ENAMETOOLONG.
    return { why: `cannot be looked at (${(cause as NodeJS.ErrnoException).code})`, cause };
  }
}

function trimSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') : path;
}
