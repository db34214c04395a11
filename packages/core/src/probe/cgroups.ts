import { existsSync, writeFileSync } from 'node:fs';
import { Cgroup, type Controller, detectCgroups } from '@ns/cgroups';
import { attemptInside } from './attempt.ts';
import { Lacking, type Trial, type Trials } from './capability.ts';

/** Cgroups: cgroups(7). */
export type CgroupFeature =
  | 'cgroups'
  | 'cpuController'
  | 'cpusetController'
  | 'memoryController'
  | 'pidsController'
  | 'ioController'
  | 'hugetlbController'
  | 'devicesController'
  | 'freezer'
  | 'cgroupKill'
  | 'cloneIntoCgroup';

/** Each makes a cgroup below this process's own place and removes it. */
export const cgroupTrials: Trials<CgroupFeature> = {
  async cgroups() {
    await using _ = await newCgroup('');
    return detectCgroups().mode;
  },
  cpuController: controller('cpu', ['cpu.max', 'cpu.cfs_quota_us']),
  cpusetController: controller('cpuset', ['cpuset.cpus']),
  memoryController: controller('memory', ['memory.max', 'memory.limit_in_bytes']),
  pidsController: controller('pids', ['pids.max']),
  ioController: controller('io', ['io.max', 'io.weight', 'blkio.throttle.read_bps_device', 'blkio.weight']),
  hugetlbController: controller('hugetlb', []),
  devicesController: () => {
    const { controllers, unified } = detectCgroups();
    if (controllers.has('devices')) return controller('devices', ['devices.deny'])();
    return unified ? 'an eBPF program per cgroup' : undefined;
  },
  async freezer() {
    await using cgroup = await newCgroup('freezer');
    await cgroup.freeze();
    await cgroup.thaw();
  },
  async cgroupKill() {
    await using cgroup = await newCgroup('kill');
    const file = `${unifiedPath(cgroup)}/cgroup.kill`;
    if (!existsSync(file)) throw new Lacking('this kernel has no cgroup.kill', 'It needs Linux 5.14 or later');
    writeFileSync(file, '1');
  },
  async cloneIntoCgroup() {
    await using cgroup = await newCgroup('clone');
    unifiedPath(cgroup);
    using join = cgroup.joinPlan();
    await attemptInside({ intoCgroup: 'cgroup', fds: { cgroup: join.cloneInto!.fd } });
  },
};

function newCgroup(purpose: string, account: readonly Controller[] = []): Promise<Cgroup> {
  return Cgroup.create(`ns-probe-${process.pid}-${++serial}${purpose && `-${purpose}`}`, {}, { account });
}

let serial = 0;

/** @param files - of the kernel: the detail says which of them are there */
function controller(name: Controller, files: readonly string[]): Trial {
  return async () => {
    const tree = detectCgroups().controllers.get(name);
    if (!tree) {
      throw new Lacking(
        `no cgroup tree of this machine has the ${name} controller`,
        `See /proc/cgroups: it is not built into the kernel, disabled with cgroup_disable=${name}, or not mounted`,
      );
    }
    await using cgroup = await newCgroup(name, [name]);
    const path = cgroup.pathOf(name);
    if (path === undefined) throw new Lacking(`the ${name} controller is not delegated to this process`, delegation);
    const there = files.filter((file) => existsSync(`${path}/${file}`));
    return [`v${tree.version}`, ...there].join(', ');
  };
}

const delegation = 'Have it delegated: systemctl edit user@.service, [Service] Delegate=yes; or run as root';

function unifiedPath(cgroup: Cgroup): string {
  const { unified } = detectCgroups();
  const path = unified && cgroup.paths.find((candidate) => candidate.startsWith(unified.mountPoint));
  if (path !== undefined) return path;
  throw new Lacking('there is no cgroup v2 tree', 'Mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified');
}
