import { SpecError } from '@ns/libc';
import type { DirectoryPlace } from './directory-place.ts';

/** What makes an overlay; the names are those of the kernel's documentation, in camel case. */
export interface OverlayOptions {
  /** Read-only layers, topmost first. Any name: commas, colons, backslashes and newlines too. */
  readonly lower: readonly DirectoryPlace[];
  /** Where writes go. Without it the mount is read-only. Must be on a file system with d_type and xattrs (ext4, xfs, btrfs, tmpfs; not NFS, not overlay). */
  readonly upper?: DirectoryPlace;
  /** Scratch of the kernel: an empty directory on the same mount as `upper`. */
  readonly work?: DirectoryPlace;
  /** Keep overlayfs's attributes as `user.overlay.*`, for user namespaces. Since 5.11. Default false. */
  readonly userxattr?: boolean;
  /** `on` lets directories of lower layers be renamed. Default `nofollow`: redirects planted in a layer are not followed. */
  readonly redirectDir?: 'on' | 'off' | 'follow' | 'nofollow';
  /** Copy only metadata up on chmod and chown. Default false: a layer would then depend on the ones below for content. */
  readonly metacopy?: boolean;
  /** Keep hard links together over a copy-up. Default false. */
  readonly index?: boolean;
  /** Never sync the upper: faster, and the upper is lost in a crash. Since 5.10. Default false. */
  readonly volatile?: boolean;
  /** Inode numbers unique over all layers. Default `off`. */
  readonly xino?: 'on' | 'off' | 'auto';
  /** Allow NFS export; needs `index`. Default false. */
  readonly nfsExport?: boolean;
  /** `off` to let copies of one upper be mounted at once; `on`, `null`, `auto` since 6.6. Default: the kernel's. */
  readonly uuid?: 'on' | 'off' | 'null' | 'auto';
}

/** One setting for fsconfig(2): a string, or a flag when there is no value. */
export interface OverlayParameter {
  readonly key: string;
  readonly value?: string;
}

type Choice = Readonly<Partial<Record<keyof OverlayOptions, readonly unknown[]>>>;
const choices: Choice = {
  redirectDir: ['on', 'off', 'follow', 'nofollow'],
  xino: ['on', 'off', 'auto'],
  uuid: ['on', 'off', 'null', 'auto'],
};

/**
 * Everything but the directories, as the kernel takes it. All that a distribution's kernel may have another default for is said
 * explicitly: with CONFIG_OVERLAY_FS_REDIRECT_ALWAYS_FOLLOW an image could otherwise show directories it was not given.
 *
 * @throws SpecError for a combination the kernel refuses with a bare EINVAL
 */
export function overlayParameters(options: Omit<OverlayOptions, 'lower'>): OverlayParameter[] {
  for (const [field, allowed] of Object.entries(choices)) {
    const value = options[field as 'xino'];
    if (value !== undefined && !allowed.includes(value)) throw new SpecError(field, allowed.join(', '), value);
  }
  const {
    userxattr = false,
    redirectDir = 'nofollow',
    metacopy = false,
    index = false,
    nfsExport = false,
    xino = 'off',
    uuid,
  } = options;
  if (options.upper !== undefined && options.work === undefined) {
    throw new SpecError('work', 'an empty directory on the same mount as upper', undefined);
  }
  if (options.upper === undefined && options.work !== undefined)
    throw new SpecError('upper', 'a directory, because work is given', undefined);
  if (options.volatile && options.upper === undefined) throw new SpecError('volatile', 'an upper to be volatile', true);
  if (userxattr && redirectDir !== 'nofollow')
    throw new SpecError('redirectDir', "'nofollow' together with userxattr", redirectDir);
  if (userxattr && metacopy) throw new SpecError('metacopy', 'false together with userxattr', metacopy);
  if (metacopy && redirectDir !== 'on' && options.upper !== undefined)
    throw new SpecError('redirectDir', "'on' together with metacopy", redirectDir);
  if (nfsExport && !index) throw new SpecError('index', 'true together with nfsExport', index);
  const onOff = (value: boolean): string => (value ? 'on' : 'off');
  const parameters: OverlayParameter[] = [
    { key: 'redirect_dir', value: redirectDir },
    { key: 'metacopy', value: onOff(metacopy) },
    { key: 'index', value: onOff(index) },
    { key: 'nfs_export', value: onOff(nfsExport) },
    { key: 'xino', value: xino },
  ];
  if (uuid !== undefined) parameters.push({ key: 'uuid', value: uuid });
  if (userxattr) parameters.push({ key: 'userxattr' });
  if (options.volatile) parameters.push({ key: 'volatile' });
  return parameters;
}
