import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Cgroup, type Controller, detectCgroups } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';

/* Controllers that most machines lack: where one is there, its limits are in the kernel's files. */

const machine = detectCgroups();
const name = `rare-${process.pid}`;
const without = (controller: Controller): string | undefined =>
  notRoot ??
  (machine.controllers.has(controller)
    ? undefined
    : `no ${controller} controller: not a cgroup v1 host with all controllers`);

needs(without('net_cls'))('packets of a cgroup get a class', async () => {
  await using cg = await Cgroup.create(name, { netCls: { classid: 0x10_0001 } });
  expect(readFileSync(`${cg.pathOf('net_cls')}/net_cls.classid`, 'utf8')).toBe(`${0x10_0001}\n`);
});

needs(without('net_prio'))('packets of a cgroup get a priority by interface', async () => {
  await using cg = await Cgroup.create(name, { netPrio: { lo: 5 } });
  expect(readFileSync(`${cg.pathOf('net_prio')}/net_prio.ifpriomap`, 'utf8')).toContain('lo 5\n');
});

needs(without('hugetlb'))('huge pages are limited by size', async () => {
  await using cg = await Cgroup.create(name, { hugetlb: { '2MB': '4MiB' } });
  expect((await cg.stats()).hugetlb?.['2MB']?.maxBytes).toBe(4 * 2 ** 20);
  await cg.update({ hugetlb: { '2MB': 0 } });
  expect((await cg.stats()).hugetlb?.['2MB']?.maxBytes).toBe(0);
});

needs(without('cpuacct'))('a limit of cpu time counts it too, where another tree does that', async () => {
  await using cg = await Cgroup.create(name, { cpu: { max: 0.5 } });
  expect((await cg.stats()).cpu?.usageUs).toBeGreaterThanOrEqual(0);
});

// A card in software: needs a kernel with rdma_rxe, and is the whole machine's, so only a virtual one gets it.
const noRdma = without('rdma') ?? (process.env.NS_VM === '1' ? undefined : 'not in a virtual machine');

needs(noRdma)('handles and objects of a network card are limited by device', async () => {
  spawnSync('modprobe', ['rdma_rxe']);
  const { status, stderr } = spawnSync('rdma', ['link', 'add', 'rxe0', 'type', 'rxe', 'netdev', 'lo']);
  expect([status, stderr.toString()]).toEqual([0, '']);
  await using cg = await Cgroup.create(name, { rdma: { rxe0: { hcaHandles: 2, hcaObjects: 100 } } });
  const max = (): string => readFileSync(`${cg.pathOf('rdma')}/rdma.max`, 'utf8');
  expect(max()).toBe('rxe0 hca_handle=2 hca_object=100 \n');
  await cg.update({ rdma: { rxe0: { hcaHandles: 'max' } } });
  expect(max()).toBe('rxe0 hca_handle=max hca_object=100 \n');
});

needs(without('misc'))('a resource that the machine has none of is refused by name', async () => {
  await expect(Cgroup.create(name, { misc: { no_such: 1 } })).rejects.toMatchObject({
    code: 'EINVAL',
    message: expect.stringContaining('no_such'),
  });
});
