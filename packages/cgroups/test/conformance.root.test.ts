import { Cgroup, type CgroupHost, detectCgroups, onlyV1, pruneCgroups } from '@ns/cgroups';
import { cgroupConformance, notRoot } from '@ns/testing';

const machine = detectCgroups();
const hosts: readonly CgroupHost[] = machine.mode === 'hybrid' ? [machine, onlyV1(machine)] : [machine];

for (const host of hosts) {
  cgroupConformance({
    title: host.mode,
    version: host.controllers.get('memory')?.version ?? 2,
    missing: notRoot,
    // On v1 each tree counts for itself: cpu time is not counted where only cpu is limited.
    create: (name, limits) => Cgroup.create(name, limits, { host, account: ['cpuacct', 'memory', 'pids'] }),
    createOwnedBy: (pid, name) => Cgroup.create(name, {}, { host, owner: pid }),
    prune: () => pruneCgroups({ host }),
  });
}
