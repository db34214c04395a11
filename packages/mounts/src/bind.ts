import { MS, type OwnedFd, onlyKnownKeys } from '@ns/libc';
import {
  attachMount,
  cloneMount,
  createMount,
  finishMount,
  idmapMount,
  type NewMount,
  type Place,
  setMountAttributes,
} from './detached-mount.ts';
import { parseMountOptions } from './mount-options.ts';
import { type Propagation, propagationBits } from './propagation.ts';

/** How {@link bindMount} binds. */
export interface BindOptions {
  /** With everything mounted below the source. */
  readonly recursive?: boolean;
  /**
   * Nothing can be written through it, whatever `options` say; with `recursive` also not to the mounts below (MS_RDONLY alone would
   * leave those writable).
   */
  readonly readonly?: boolean;
  /** Option strings as in the OCI specification; `rbind` among them does as `recursive`, `rro` as `readonly`; `ro` is of the mount alone. */
  readonly options?: readonly string[];
  readonly propagation?: Propagation;
  /** Files appear with the ids this user namespace maps them to. */
  readonly userNamespace?: OwnedFd;
}

/**
 * The bind of {@link bindMount}, attached nowhere yet: open_tree(2) and mount_setattr(2), since 5.12. Needs CAP_SYS_ADMIN in the user
 * namespace that owns our mount namespace.
 *
 * @returns the detached mount, which goes with its descriptor unless it is attached
 * @throws SpecError for an unknown option
 * @throws SyscallError `ENOENT`, `EPERM`, `EINVAL`
 */
export function createBind(source: Place, bind: BindOptions = {}): OwnedFd {
  onlyKnownKeys(bind, ['recursive', 'readonly', 'options', 'propagation', 'userNamespace'], '');
  // The last word: no `rw` among the options takes it back. Of a mount alone, `rro` is what `ro` is.
  const parsed = parseMountOptions([...(bind.options ?? []), ...(bind.readonly ? ['rro'] : [])]);
  const recursive = bind.recursive || (parsed.flags & MS.REC) !== 0;
  const mount = cloneMount(source, { recursive });
  try {
    // First, because the kernel refuses it on a mount that is shared with others.
    if (bind.userNamespace)
      idmapMount(mount, bind.userNamespace, {
        recursive: parsed.idmap === 'ridmap' || (recursive && parsed.idmap === undefined),
      });
    setMountAttributes(mount, parsed.attributes);
    const propagation = bind.propagation === undefined ? [] : [propagationBits(bind.propagation)];
    return finishMount(mount, { ...parsed, propagation: [...parsed.propagation, ...propagation] });
  } catch (error) {
    mount.close();
    throw error;
  }
}

/**
 * Shows `source` also at `target`: open_tree(2), mount_setattr(2), move_mount(2), since 5.12. Never visible with weaker
 * attributes than asked for. Needs CAP_SYS_ADMIN over the mount namespace.
 *
 * @returns the mount, for later {@link unmount} or {@link setMountAttributes}; closing it leaves the mount in place
 *
 * @example
 * ```ts
 * using root = openRoot('/srv/guest');
 * using target = resolveInRoot(root.fd, '/data', { create: 'directory' });
 * using mount = bindMount('/srv/data', target, { recursive: true, readonly: true, options: ['nosuid', 'nodev'], propagation: 'rslave' });
 * ```
 */
export function bindMount(source: Place, target: Place, bind: BindOptions = {}): OwnedFd {
  return attached(createBind(source, bind), target);
}

/** A new file system at `target`; see {@link createMount}. */
export function mountFileSystem(mount: NewMount & { readonly target: Place }): OwnedFd {
  return attached(createMount(mount), mount.target);
}

function attached(mount: OwnedFd, target: Place): OwnedFd {
  try {
    attachMount(mount, target);
    return mount;
  } catch (error) {
    mount.close();
    throw error;
  }
}
