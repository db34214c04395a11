import type { CgroupHost } from './host.ts';

/**
 * One mount to be made inside a container, in the order given. A read-only tmpfs becomes so once what is in it is made.
 */
export interface CgroupMount {
  readonly type: 'tmpfs' | 'cgroup' | 'cgroup2' | 'symlink';
  readonly target: string;
  /** Options of mount(8): flags and the controllers of a v1 tree. Empty for a link. */
  readonly options: readonly string[];
  /** What a link points to. */
  readonly linkTo?: string;
}

const flags = ['nosuid', 'noexec', 'nodev'];

/**
 * The cgroup file systems of a container that has a cgroup namespace of its own. Pure; root in the user namespace that owns
 * the cgroup namespace can make them.
 *
 * `'readonly'` shows the container its own limits and counts. `'delegated'` lets it make children: right only for a cgroup
 * that was given to it with {@link Cgroup.delegate}, on v2. v1 trees are always read-only, the tmpfs that holds them too:
 * a writable one offers `release_agent` (CVE-2022-0492).
 */
export function containerCgroupMounts(host: CgroupHost, access: 'readonly' | 'delegated'): readonly CgroupMount[] {
  const root = '/sys/fs/cgroup';
  const unified = (target: string): CgroupMount => ({
    type: 'cgroup2',
    target,
    options: [access === 'delegated' ? 'rw' : 'ro', ...flags, 'relatime'],
  });
  if (host.mode === 'v2') return [unified(root)];
  const trees = host.hierarchies.flatMap((hierarchy): CgroupMount[] => {
    const name = hierarchy.mountPoint.split('/').at(-1)!;
    const target = `${root}/${name}`;
    if (hierarchy.version === 2) return [unified(target)];
    const controllers = hierarchy.kernelNames;
    // Controllers mounted together ("cpu,cpuacct") are looked for under each name alone.
    const links = controllers.filter((controller) => controller !== name);
    return [
      { type: 'cgroup', target, options: ['ro', ...flags, 'relatime', ...controllers] },
      ...links.map(
        (controller): CgroupMount => ({ type: 'symlink', target: `${root}/${controller}`, options: [], linkTo: name }),
      ),
    ];
  });
  return [{ type: 'tmpfs', target: root, options: ['ro', ...flags, 'mode=755', 'size=65536k'] }, ...trees];
}
