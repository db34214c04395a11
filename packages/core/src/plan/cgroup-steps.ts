import { basename } from 'node:path';
import type { CgroupHost, Hierarchy } from '@ns/cgroups';
import type { Step } from '@ns/launch';

/** The cgroup of a container, as its directories in each tree. */
export interface VisibleCgroup {
  /** The one it is in is the container's to manage. */
  readonly delegated: boolean;
  readonly mode: CgroupHost['mode'];
  readonly trees: readonly {
    readonly path: string;
    readonly hierarchy: Pick<Hierarchy, 'version' | 'mountPoint' | 'kernelNames'>;
  }[];
}

const place = '/sys/fs/cgroup';
const attributes = ['ro', 'nosuid', 'nodev', 'noexec'] as const;

/**
 * What a container sees of its own cgroup: limits and counts, where programs that adapt to them look (JVM, Node.js, Go).
 *
 * Binds of its directories, not cgroup file systems mounted in its cgroup namespace: the command is in a child of the
 * cgroup that has the limits, and a child shows none. Read-only on every version: a writable v1 tree offers
 * `release_agent` (CVE-2022-0492), and limits would be the container's own to lift.
 */
export function cgroupSteps({ delegated, mode, trees }: VisibleCgroup): Step[] {
  // Its root is that of the cgroup namespace: of what is above, limits included, nothing is there to be written to.
  if (delegated)
    return [
      {
        op: 'mount',
        type: 'cgroup2',
        target: place,
        options: {},
        attributes: ['nosuid', 'nodev', 'noexec'],
        plain: true,
      },
    ];
  const bind = (source: string, target: string): Step => ({
    op: 'bind',
    source,
    target,
    type: 'directory',
    attributes,
    recursive: false,
  });
  if (mode === 'v2') return trees.map(({ path }) => bind(path, place));
  return [
    // Not an image's: of a size, so that it holds nothing but directories (runc and crun leave it writable).
    {
      op: 'mount',
      type: 'tmpfs',
      target: place,
      options: { mode: '755', size: '64k' },
      attributes: ['nosuid', 'nodev', 'noexec'],
      plain: true,
    },
    ...trees.flatMap(({ path, hierarchy }) => namesOf(hierarchy).map((name) => bind(path, `${place}/${name}`))),
    { op: 'readonlyPaths', paths: [place] },
  ];
}

/** v1's trees of several controllers are looked for under the name of each. */
function namesOf({ version, mountPoint, kernelNames }: VisibleCgroup['trees'][number]['hierarchy']): string[] {
  return [...new Set([basename(mountPoint), ...(version === 1 ? kernelNames : [])])];
}
