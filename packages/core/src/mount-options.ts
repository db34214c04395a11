import type { MountAttribute, Propagation } from '@ns/launch';
import { MOUNT_ATTR, MS, SpecError } from '@ns/libc';
import { parseMountOptions, propagationBits } from '@ns/mounts';

/** Option strings of a mount, as steps want them. */
export interface ReadOptions {
  readonly attributes: readonly MountAttribute[];
  readonly propagation: Propagation | undefined;
  /** `rbind` and `bind`, when one was given. */
  readonly recursive: boolean | undefined;
  /** `idmap`: the ids on disk are the ids inside. */
  readonly keepsOwner: boolean;
  /** `tmpcopyup`: a tmpfs begins with what the image has there. */
  readonly copiesUp: boolean;
  /** For the file system. */
  readonly data: Readonly<Record<string, string | true>>;
  /** Those of them that only some file systems know. */
  readonly own: readonly (readonly [name: string, value: string | true])[];
}

const attributeNames: readonly (readonly [bit: number, name: MountAttribute])[] = [
  [MOUNT_ATTR.RDONLY, 'ro'],
  [MOUNT_ATTR.NOSUID, 'nosuid'],
  [MOUNT_ATTR.NODEV, 'nodev'],
  [MOUNT_ATTR.NOEXEC, 'noexec'],
  [MOUNT_ATTR.NOATIME, 'noatime'],
  [MOUNT_ATTR.STRICTATIME, 'strictatime'],
  [MOUNT_ATTR.NODIRATIME, 'nodiratime'],
  [MOUNT_ATTR.NOSYMFOLLOW, 'nosymfollow'],
];

const propagations: readonly Propagation[] = [
  ...(['private', 'rprivate', 'slave', 'rslave'] as const),
  ...(['shared', 'rshared', 'unbindable', 'runbindable'] as const),
];

/** What every mount is, unless `suid` or `dev` are spelled out: nobody who asks for `noexec` asks for device nodes. */
const DEFAULTS = MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV;

/**
 * Reads options as the OCI runtime specification spells them, those that a container of ours has without them included.
 *
 * @param field - of the specification, for errors
 * @throws SpecError for what cannot be part of a container's setup
 */
export function readMountOptions(
  { options = [], readonly }: { options?: readonly string[]; readonly?: boolean },
  field: string,
): ReadOptions {
  const parsed = parseMountOptions(options);
  if (parsed.flags & MS.REMOUNT) throw new SpecError(field, 'options of a new mount', 'remount');
  // On a bind the recursive forms are what the plain ones are: attributes apply to the submounts too.
  const forms = [parsed.attributes, parsed.recursiveAttributes];
  const kept = forms.reduce((bits, { clear }) => bits & ~clear, DEFAULTS);
  const set = forms.reduce((bits, form) => bits | form.set, kept | (readonly ? MOUNT_ATTR.RDONLY : 0));
  const last = parsed.propagation.at(-1);
  return {
    attributes: attributeNames.filter(([bit]) => set & bit).map(([, name]) => name),
    propagation: propagations.find((name) => propagationBits(name) === last),
    recursive: parsed.flags & MS.BIND ? (parsed.flags & MS.REC) !== 0 : undefined,
    keepsOwner: parsed.idmap !== undefined,
    copiesUp: parsed.tmpcopyup,
    data: Object.fromEntries([...parsed.superblock, ...parsed.data].map(splitOption)),
    own: parsed.data.map(splitOption),
  };
}

function splitOption(option: string): [string, string | true] {
  const equals = option.indexOf('=');
  return equals < 0 ? [option, true] : [option.slice(0, equals), option.slice(equals + 1)];
}
