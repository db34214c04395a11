import {
  cString,
  ERRNO,
  FSCONFIG,
  fsconfig,
  fsconfigCreate,
  fsmount,
  fsopen,
  O,
  type OwnedFd,
  onlyKnownKeys,
  open,
  ResourceStack,
  SpecError,
  SYS,
  SyscallError,
  syscall,
} from '@ns/libc';
import { attachMount, createBind, finishMount, type Place, parseMountOptions, withMessages } from '@ns/mounts';
import { actingAs } from './acting-as.ts';
import { type DirectoryPlace, placeName } from './directory-place.ts';
import { overlayByMount2 } from './overlay-by-mount2.ts';
import { OverlayMount } from './overlay-mount.ts';
import { type OverlayOptions, overlayParameters } from './overlay-options.ts';
import type { Owner } from './owner.ts';

/** The kernel's OVL_MAX_STACK. */
export const MAX_LOWER_LAYERS = 500;

/** {@link mountOverlay}'s options. */
export interface MountOverlayOptions extends OverlayOptions {
  /** Where to mount it; a descriptor from `resolveInRoot` cannot be redirected. */
  readonly target: Place;
  /** Mount options of the OCI specification: `['nosuid', 'nodev']`. */
  readonly options?: readonly string[];
  /** Shown as source in mountinfo. Default `overlay`. */
  readonly source?: string;
  /**
   * Whose ids overlayfs itself has when it writes to the upper. A file system that was mounted in a user namespace takes only
   * those that are mapped there; with others the mount is read-only. Needs CAP_SETUID and CAP_SETGID. Default: the caller's.
   */
  readonly mounter?: Owner;
}

const overlayKeys = [
  'lower',
  'upper',
  'work',
  'target',
  'options',
  'source',
  'mounter',
  'userxattr',
  'redirectDir',
  'metacopy',
  'index',
  'volatile',
  'xino',
  'nfsExport',
  'uuid',
] satisfies (keyof MountOverlayOptions)[];

// Overlayfs answers most mistakes with few errnos. From Documentation/filesystems/overlayfs.rst and fs/overlayfs/super.c.
const hints: Readonly<Record<string, string>> = {
  ELOOP: 'Layers overlap: the same directory twice, one inside another, or an upper or work inside a lower',
  EINVAL:
    'Likely: overlays stacked more than two deep (layers that are themselves on an overlay of an overlay: copy them to a plain file system, or put upper and work on a tmpfs), an upper on a file system that cannot hold one (overlay, NFS, vfat), or upper and work on different mounts',
  ESTALE: 'The upper was used with other lower layers: use a fresh upper and work',
  EBUSY: 'The upper or work directory is in use by another overlay',
  EPERM:
    'Needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace; in one that is not the initial, Linux 5.11 and userxattr',
  ENODEV: 'The kernel has no overlayfs: modprobe overlay, CONFIG_OVERLAY_FS, or use the fuse-overlayfs or vfs driver',
  ENOENT: 'A layer, upper or work directory does not exist',
};

/**
 * An overlay mount, attached nowhere yet: fsopen(2), fsconfig(2), fsmount(2), since 5.2. About 200 layers fit
 * everywhere, 500 since 6.8, 999 since 6.15.
 *
 * Close the descriptor to be rid of it, or attach it with `attachMount` of @ns/mounts. Needs CAP_SYS_ADMIN over the mount
 * namespace; in a user namespace since 5.11 with `userxattr`.
 *
 * @throws SpecError for options that cannot go together
 * @throws SyscallError with the kernel's own words in the hint
 */
export function createOverlay(overlay: Omit<MountOverlayOptions, 'target'>): OwnedFd {
  onlyKnownKeys(overlay, overlayKeys, '');
  const { mounter, ...rest } = overlay;
  return mounter ? actingAs(mounter, () => create(rest)) : create(rest);
}

function create(overlay: Omit<MountOverlayOptions, 'target' | 'mounter'>): OwnedFd {
  const { lower, upper, work } = overlay;
  const parameters = overlayParameters(overlay);
  const parsed = parseMountOptions(overlay.options ?? []);
  if (parsed.data.length > 0)
    throw new SpecError('options', 'options of the mount; those of overlayfs have fields of their own', parsed.data[0]);
  if (!Array.isArray(lower) || lower.length === 0) throw new SpecError('lower', 'at least one directory', lower);
  // Overlayfs wants two layers. One layer that nobody writes to is a read-only bind.
  if (lower.length === 1 && upper === undefined)
    return createBind(lower[0]!, { readonly: true, options: overlay.options ?? [] });

  using held = new ResourceStack();
  const layers = withinLimit(lower, overlay, held);
  const doing = `mount an overlay of ${layers.length} layers${upper === undefined ? '' : ` with upper ${placeName(upper)}`}`;
  const source = overlay.source ?? 'overlay';
  try {
    using context = fsopen('overlay');
    if (!takesLayersSingly()) {
      const mount = overlayByMount2({ source, layers, upper, work, parameters, flags: parsed.flags });
      return finishMount(mount, parsed);
    }
    return withMessages(context, doing, () => {
      for (const layer of layers) fsconfig(context.fd, 'lowerdir+', plainPath(layer, held));
      fsconfig(context.fd, 'source', source);
      for (const { key, value } of parameters) fsconfig(context.fd, key, value);
      if (upper !== undefined) fsconfig(context.fd, 'upperdir', plainPath(upper, held));
      if (work !== undefined) fsconfig(context.fd, 'workdir', plainPath(work, held));
      fsconfigCreate(context.fd);
      return finishMount(fsmount(context.fd, parsed.attributes.set), parsed);
    });
  } catch (error) {
    throw explained(error, doing);
  }
}

let layersSingly: boolean | undefined;

/**
 * Whether overlayfs takes its layers one by one, by `lowerdir+`: since 6.8. Before 6.5 its context takes whatever it is
 * given, and the mount alone fails. So it is offered a layer that cannot be: who knows the option says that it is not there.
 */
function takesLayersSingly(): boolean {
  if (layersSingly === undefined) {
    using context = fsopen('overlay');
    const [key, nowhere] = [cString('lowerdir+'), cString('/proc/self/fd/-1')];
    const result = syscall(SYS.fsconfig, context.fd, FSCONFIG.SET_STRING, key.address, nowhere.address, 0);
    layersSingly = result === -ERRNO.ENOENT;
  }
  return layersSingly;
}

/**
 * Mounts an overlay: {@link createOverlay}, then move_mount(2) onto `target`.
 *
 * @returns the mount, which `using` or its `unmount()` unmounts; without either it stays
 *
 * @example
 * ```ts
 * using mount = mountOverlay({ lower: ['/layers/app', '/layers/base'], upper: '/scratch/upper', work: '/scratch/work', target: '/mnt' });
 * ```
 */
export function mountOverlay(overlay: MountOverlayOptions): OverlayMount {
  using mount = createOverlay(overlay);
  attachMount(mount, overlay.target);
  return new OverlayMount(mount.release());
}

function explained(error: unknown, doing: string): unknown {
  if (!(error instanceof SyscallError)) return error;
  const { syscall: name, errno, args } = error;
  const hint = [error.hint, hints[error.code]]
    .filter((text, index, all) => text !== undefined && all.indexOf(text) === index)
    .join('. ');
  return new SyscallError(name, errno, { doing, args, hint: hint || undefined, cause: error });
}

/**
 * The layers as at most 500: the bottom ones become a read-only overlay of their own. Only the bottom ones may: whiteouts
 * have no effect below the overlay they are merged in, and below the bottom there is nothing to hide.
 */
function withinLimit(
  lower: readonly DirectoryPlace[],
  overlay: Omit<MountOverlayOptions, 'target' | 'mounter'>,
  held: ResourceStack,
): readonly DirectoryPlace[] {
  if (lower.length <= MAX_LOWER_LAYERS) return lower;
  const top = lower.slice(0, MAX_LOWER_LAYERS - 1);
  const bottom = lower.slice(MAX_LOWER_LAYERS - 1);
  if (bottom.length > MAX_LOWER_LAYERS) {
    throw new SpecError(
      'lower',
      `at most ${2 * MAX_LOWER_LAYERS - 1} layers: file systems may be stacked two deep`,
      lower.length,
      'Merge layers with applyLayer into one directory',
    );
  }
  const { upper: _upper, work: _work, volatile: _volatile, ...readOnly } = overlay;
  return [...top, held.use(create({ ...readOnly, lower: bottom }))];
}

// fsconfig(2) takes 255 bytes; and overlayfs reads colons and backslashes in some paths in its own way.
const PLAIN = /^\/[\w/.+@-]{1,250}$/;

/** The path itself where overlayfs reads it as it stands (mountinfo will show it), else a descriptor's. */
function plainPath(place: DirectoryPlace, held: ResourceStack): string {
  if (typeof place !== 'string') return place.procPath;
  if (PLAIN.test(place)) return place;
  return held.use(open(place, O.PATH | O.DIRECTORY)).procPath;
}
