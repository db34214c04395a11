import type { MountInfo } from '@ns/mounts';

/** A mount that CRIU cannot make, but is shown: of something outside the container. */
export interface OutsideMount {
  /** Its name in the images. */
  readonly key: string;
  readonly target: string;
  /** `cgroup`: its own, whichever it is then; `empty`: the cover of a masked directory; `root`: what is there in the root. */
  readonly what: 'cgroup' | 'empty' | 'root';
}

// What CRIU writes down with its content, or makes anew in the namespaces it makes.
const ownTypes = new Set(['proc', 'sysfs', 'devpts', 'mqueue', 'tmpfs']);

/** The mounts of a container that are of something outside, from its mountinfo. One of each place: binds of it follow. */
export function outsideMounts(mounts: readonly MountInfo[]): OutsideMount[] {
  const deviceOf = ({ major, minor }: MountInfo) => `${major}:${minor}`;
  const ownFileSystems = new Set(
    mounts.filter(({ type, root }) => ownTypes.has(type) && root === '/').map((mount) => deviceOf(mount)),
  );
  const outside = new Map<string, OutsideMount>();
  for (const mount of mounts) {
    const { target, type } = mount;
    if (target === '/' || ownFileSystems.has(deviceOf(mount)) || outside.has(target)) continue;
    const what = type.startsWith('cgroup') ? 'cgroup' : type === 'tmpfs' ? 'empty' : 'root';
    outside.set(target, { key: `outside-${outside.size}`, target, what });
  }
  return [...outside.values()];
}
