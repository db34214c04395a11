import { readFileSync } from 'node:fs';
import { UnavailableError, unescapeMountField } from '@ns/libc';
import { inCgroupNamespace, isSystemd } from './host-environment.ts';

/**
 * Controllers by their cgroup v2 names. `io` is v1's `blkio`. `cpuacct`, `freezer`, `net_cls` and `net_prio` exist on
 * v1 only; `devices` is a controller on v1 and an eBPF program on v2.
 */
export type Controller =
  | 'cpu'
  | 'cpuacct'
  | 'cpuset'
  | 'memory'
  | 'io'
  | 'pids'
  | 'devices'
  | 'freezer'
  | 'hugetlb'
  | 'rdma'
  | 'misc'
  | 'net_cls'
  | 'net_prio'
  | 'perf_event';

/** `v2`: one tree with the controllers. `v1`: a tree per controller. `hybrid`: both, the controllers mostly on v1. */
export type CgroupMode = 'v1' | 'hybrid' | 'v2';

/** One mounted cgroup tree. */
export interface Hierarchy {
  readonly version: 1 | 2;
  readonly controllers: ReadonlySet<Controller>;
  /** The same as the kernel spells them in mount options, v1's `blkio` for `io`. */
  readonly kernelNames: readonly string[];
  /** Where it is mounted, `/sys/fs/cgroup/memory`. */
  readonly mountPoint: string;
  /** Which cgroup the mount shows as its root; not `/` when a container sees only its own part. */
  readonly mountRoot: string;
  /** The cgroup of this process, relative to the mount. */
  readonly ownPath: string;
}

/** What {@link detectCgroups} found. */
export interface CgroupHost {
  readonly mode: CgroupMode;
  readonly hierarchies: readonly Hierarchy[];
  /** The tree a controller's limits are written to. */
  readonly controllers: ReadonlyMap<Controller, Hierarchy>;
  /** The v2 tree, with or without controllers: kill, freeze, populated and pressure. */
  readonly unified: Hierarchy | undefined;
  /** This process is in a cgroup namespace of its own, as in a container. */
  readonly namespaced: boolean;
  /** systemd manages the trees (`/run/systemd/system` exists, as sd_booted(3) tests). */
  readonly systemd: boolean;
}

/** The kernel's texts {@link parseCgroupHost} works on. */
export interface CgroupHostTexts {
  /** `/proc/self/mountinfo` */
  readonly mountinfo: string;
  /** `/proc/self/cgroup` */
  readonly selfCgroup: string;
  /** Content of `cgroup.controllers` at a mount point of the v2 tree. */
  readonly controllersAt: (mountPoint: string) => string;
}

const controllerNames: Readonly<Record<string, Controller>> = {
  cpu: 'cpu',
  cpuacct: 'cpuacct',
  cpuset: 'cpuset',
  memory: 'memory',
  io: 'io',
  blkio: 'io',
  pids: 'pids',
  devices: 'devices',
  freezer: 'freezer',
  hugetlb: 'hugetlb',
  rdma: 'rdma',
  misc: 'misc',
  net_cls: 'net_cls',
  net_prio: 'net_prio',
  perf_event: 'perf_event',
};

/** Whether it is the name of a controller, as it is given here (`io`, not v1's `blkio`). */
export function isController(name: unknown): name is Controller {
  return Object.values(controllerNames).includes(name as Controller);
}

/**
 * Understands the kernel's description of the cgroup mounts. Pure.
 *
 * @throws UnavailableError when nothing usable is mounted
 */
export function parseCgroupHost(
  texts: CgroupHostTexts,
): Pick<CgroupHost, 'mode' | 'hierarchies' | 'controllers' | 'unified'> {
  const ownPaths = parseOwnPaths(texts.selfCgroup);
  const found = new Map<string, Hierarchy>();
  for (const line of texts.mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    if (before === undefined || after === undefined) continue;
    const [type, , superOptions = ''] = after.split(' ');
    if (type !== 'cgroup' && type !== 'cgroup2') continue;
    const [, , , mountRoot = '/', mountPoint = ''] = before.split(' ').map(unescapeMountField);
    const version = type === 'cgroup2' ? 2 : 1;
    const words = version === 2 ? texts.controllersAt(mountPoint).trim().split(' ') : superOptions.split(',');
    const kernelNames = words.filter((word) => word in controllerNames);
    const controllers = new Set(kernelNames.map((word) => controllerNames[word]!));
    // A v1 tree without controllers is a named one (systemd's): nothing of ours.
    if (version === 1 && controllers.size === 0) continue;
    const key = version === 2 ? 'unified' : [...controllers].sort().join();
    const ownPath = relativeTo(mountRoot, ownPaths.get(version === 2 ? '' : [...controllers][0]!) ?? '/');
    // A tree can be mounted again elsewhere (into a chroot, by a container manager): the first mount is the machine's.
    if (!found.has(key)) found.set(key, { version, controllers, kernelNames, mountPoint, mountRoot, ownPath });
  }
  const hierarchies = [...found.values()];
  const unified = found.get('unified');
  if (hierarchies.length === 0) {
    throw new UnavailableError(
      'cgroups',
      'no cgroup file system is mounted',
      'Mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup',
    );
  }
  const mode = unified === undefined ? 'v1' : hierarchies.length === 1 ? 'v2' : 'hybrid';
  return { mode, hierarchies, unified, controllers: controllersOf(hierarchies) };
}

function controllersOf(hierarchies: readonly Hierarchy[]): Map<Controller, Hierarchy> {
  return new Map(
    hierarchies.flatMap((hierarchy) => [...hierarchy.controllers].map((name) => [name, hierarchy] as const)),
  );
}

/** `/proc/self/cgroup`: own path by controller, the v2 tree's under the empty name. */
function parseOwnPaths(text: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (!match) continue;
    for (const name of match[1]!.split(',')) paths.set(controllerNames[name] ?? name, match[2]!);
  }
  return paths;
}

// Without a cgroup namespace of its own, a container's mounts show a part of the tree while /proc/self/cgroup speaks
// of the whole: take the shown part's name off.
function relativeTo(root: string, path: string): string {
  if (root === '/') return path;
  if (path === root) return '/';
  return path.startsWith(`${root}/`) ? path.slice(root.length) : '/';
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

let detected: CgroupHost | undefined;

/**
 * Which cgroup trees this machine has, who has which controller, and where this process is. Reads
 * `/proc/self/mountinfo`, `/proc/self/cgroup` and `cgroup.controllers`; needs no privilege. The answer is kept: mounts
 * do not come and go while a service runs; `{ fresh: true }` looks again.
 *
 * @throws UnavailableError when no cgroup file system is mounted
 */
export function detectCgroups(options: { fresh?: boolean } = {}): CgroupHost {
  if (detected && !options.fresh) return detected;
  const parsed = parseCgroupHost({
    mountinfo: readFileSync('/proc/self/mountinfo', 'utf8'),
    selfCgroup: readText('/proc/self/cgroup'),
    controllersAt: (mountPoint) => readText(`${mountPoint}/cgroup.controllers`),
  });
  detected = { ...parsed, namespaced: inCgroupNamespace(), systemd: isSystemd() };
  return detected;
}

/**
 * The same machine seen without its v2 tree, so that what is written for v1 hosts can be used, and proven, on a hybrid
 * one.
 *
 * @throws UnavailableError on a host that has only v2
 */
export function onlyV1(host: CgroupHost): CgroupHost {
  const hierarchies = host.hierarchies.filter((hierarchy) => hierarchy.version === 1);
  if (hierarchies.length === 0) {
    throw new UnavailableError(
      'cgroup v1',
      'no v1 controller is mounted',
      'Boot with systemd.unified_cgroup_hierarchy=0 or mount the controllers',
    );
  }
  return { ...host, mode: 'v1', hierarchies, unified: undefined, controllers: controllersOf(hierarchies) };
}
