import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { Cgroup, containerCgroupMounts, detectCgroups } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';
import { inOwnService } from './own-service.ts';

const machine = detectCgroups();
const notV2 = machine.mode === 'v2' ? undefined : 'not a cgroup v2 host';

// On v2 the next test shows it.
needs(notRoot ?? (notV2 ? undefined : 'a cgroup v2 host'))(
  'with parent "own" the directories are beneath the cgroup of this process',
  async () => {
    await using cg = await Cgroup.create(`own-${process.pid}`, { memory: { max: '64MiB' } }, { parent: 'own' });
    const memory = machine.controllers.get('memory')!;
    const own = memory.ownPath === '/' ? '' : memory.ownPath;
    expect(cg.pathOf('memory')).toBe(`${memory.mountPoint}${own}/ns/own-${process.pid}`);
  },
);

// As under systemd with Delegate=yes, or in a container: all one has is the cgroup one is in.
needs(notRoot ?? notV2)('on v2 this process makes room in its own cgroup first', async () => {
  await inOwnService(async (host, service) => {
    expect(host.unified?.ownPath).toBe(`/service-${process.pid}`);
    const cg = await Cgroup.create('job', { pids: { max: 7 } }, { parent: 'own', host });
    expect(cg.paths).toEqual([`${service}/ns/job`]);
    expect(readFileSync(`${service}/ns/job/pids.max`, 'utf8')).toBe('7\n');
    expect(readFileSync('/proc/self/cgroup', 'utf8')).toBe(`0::/service-${process.pid}/ns-owner\n`);
    await cg[Symbol.asyncDispose]();
    expect(existsSync(`${service}/ns`)).toBe(false);
  });
});

needs(notRoot ?? notV2)('processes in the way of children are named', async () => {
  await using cg = await Cgroup.create(`busy-${process.pid}`, { pids: { max: 7 } });
  const sleeper = spawnSync('sh', ['-c', `sleep 60 > /dev/null & echo $! > ${cg.paths[0]}/cgroup.procs`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  expect(sleeper.status).toBe(0);
  // The kernel itself would grant pids, and make every child of the cgroup invalid by it.
  for (const limits of [{ memory: { max: '8MiB' } }, { pids: { max: 3 } }]) {
    await expect(cg.createChild('exec', limits)).rejects.toMatchObject({ code: 'ERR_NS_CGROUP_BUSY' });
  }
});

needs(notRoot ?? notV2)('who a cgroup is delegated to makes children, and cannot lift its own limit', async () => {
  await using cg = await Cgroup.create(`delegated-${process.pid}`, { pids: { max: 7 } });
  cg.delegate({ uid: 65_534, gid: 65_534 });
  const [path] = cg.paths;
  expect(statSync(path!).uid).toBe(65_534);
  const asNobody = (script: string): number | null =>
    spawnSync('sh', ['-c', script], { uid: 65_534, gid: 65_534, stdio: 'ignore' }).status;
  expect(
    asNobody(`mkdir ${path}/child && echo +pids > ${path}/cgroup.subtree_control && echo 3 > ${path}/child/pids.max`),
  ).toBe(0);
  expect(asNobody(`echo 100 > ${path}/pids.max`)).not.toBe(0);
  expect(readFileSync(`${path}/child/pids.max`, 'utf8')).toBe('3\n');
});

needs(notRoot ?? (notV2 ? undefined : 'a cgroup v2 host'))('v1 trees are not delegated', async () => {
  await using cg = await Cgroup.create(`delegated-${process.pid}`, { pids: { max: 7 } });
  expect(() => cg.delegate({ uid: 65_534 })).toThrow(expect.objectContaining({ code: 'ERR_NS_UNAVAILABLE' }));
});

test('what is mounted in a container', () => {
  const mounts = containerCgroupMounts(machine, 'readonly');
  expect(mounts[0]).toMatchObject({ target: '/sys/fs/cgroup', type: machine.mode === 'v2' ? 'cgroup2' : 'tmpfs' });
  for (const { type, options } of mounts)
    if (type !== 'symlink') expect(options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'noexec', 'nodev']));
  const delegated = containerCgroupMounts(machine, 'delegated').filter(({ options }) => options.includes('rw'));
  expect(delegated.map(({ type }) => type)).toEqual(machine.unified ? ['cgroup2'] : []);
});
