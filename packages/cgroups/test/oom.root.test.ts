import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { Cgroup, detectCgroups, onlyV1 } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';

/* Whose process it was that the kernel killed: as the kernel's files count it, which differs with the version. */

const rootTest = needs(notRoot);
const machine = detectCgroups();
const hosts = machine.mode === 'hybrid' ? [machine, onlyV1(machine)] : [machine];
const limits = { memory: { max: '16MiB' } } as const;

/** Ends a process that eats memory in a cgroup: by the kernel, or before it comes to that by a signal. */
function runInside(cg: Cgroup, script: string): NodeJS.Signals | null {
  const joined = cg.paths.map((path) => `echo 0 > ${path}/cgroup.procs`).join(' && ');
  return spawnSync('sh', ['-c', `${joined} && exec ${script}`], { stdio: 'ignore' }).signal;
}

function kernelCount(path: string): number {
  const file = ['memory.events', 'memory.oom_control']
    .map((name) => `${path}/${name}`)
    .find((name) => existsSync(name))!;
  return Number(/^oom_kill (\d+)$/m.exec(readFileSync(file, 'utf8'))![1]);
}

describe.each(hosts.map((host) => [host.mode, host] as const))('%s', (_, host) => {
  rootTest('a process of a child is not its own, but one below', async () => {
    await using cg = await Cgroup.create(`oom-${process.pid}`, limits, { host });
    await using other = await cg.createChild('other', limits);
    await using child = await cg.createChild('child', limits);
    expect(runInside(child, 'tail /dev/zero')).toBe('SIGKILL');
    expect(kernelCount(child.pathOf('memory')!)).toBe(1);
    expect([cg, child, other].map((one) => one.oomKills())).toEqual([0, 1, 0]);
    expect([cg, child, other].map((one) => one.oomKills({ below: true }))).toEqual([1, 1, 0]);
  });

  rootTest("somebody's SIGKILL is no kill for memory, wherever it was", async () => {
    await using cg = await Cgroup.create(`oom-${process.pid}`, limits, { host });
    await using child = await cg.createChild('child', limits);
    expect(runInside(child, 'sh -c "kill -9 \\$\\$"')).toBe('SIGKILL');
    expect([cg.oomKills({ below: true }), child.oomKills()]).toEqual([0, 0]);
  });

  rootTest('without the memory controller nothing is known', async () => {
    await using cg = await Cgroup.create(`oom-${process.pid}`, { pids: { max: 5 } }, { host });
    expect([cg.oomKills(), cg.oomKills({ below: true })]).toEqual([undefined, undefined]);
  });
});
