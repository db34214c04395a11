import { existsSync, readFileSync } from 'node:fs';
import { Cgroup, type Controller, detectCgroups, type Limits, onlyV1 } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';

/* Each limit as the kernel has it in its file, when a cgroup is made and after an update. What this machine has no file for is refused. */

const rootTest = needs(notRoot);
const machine = detectCgroups();
const hosts = machine.mode === 'hybrid' ? [machine, onlyV1(machine)] : [machine];
const MiB = 2 ** 20;

/** The file and its text after the first value, and after the second; undefined where the version has none. */
type InKernel = readonly [file: string, first: string, second: string] | undefined;

const table: readonly [controller: Controller, limits: Limits, update: Limits, v2: InKernel, v1: InKernel][] = [
  [
    'memory',
    { memory: { max: '64MiB' } },
    { memory: { max: 'max' } },
    ['memory.max', `${64 * MiB}`, 'max'],
    ['memory.limit_in_bytes', `${64 * MiB}`, '9223372036854771712'],
  ],
  [
    'memory',
    { memory: { high: '32MiB' } },
    { memory: { high: 'max' } },
    ['memory.high', `${32 * MiB}`, 'max'],
    undefined,
  ],
  [
    'memory',
    { memory: { low: '8MiB' } },
    { memory: { low: '16MiB' } },
    ['memory.low', `${8 * MiB}`, `${16 * MiB}`],
    ['memory.soft_limit_in_bytes', `${8 * MiB}`, `${16 * MiB}`],
  ],
  ['memory', { memory: { min: '4MiB' } }, { memory: { min: 0 } }, ['memory.min', `${4 * MiB}`, '0'], undefined],
  [
    'memory',
    { memory: { max: '64MiB', swapMax: 0 } },
    { memory: { swapMax: '8MiB' } },
    ['memory.swap.max', '0', `${8 * MiB}`],
    ['memory.memsw.limit_in_bytes', `${64 * MiB}`, `${72 * MiB}`],
  ],
  [
    'memory',
    { memory: { swapHigh: '4MiB' } },
    { memory: { swapHigh: 'max' } },
    ['memory.swap.high', `${4 * MiB}`, 'max'],
    undefined,
  ],
  [
    'memory',
    { memory: { zswapMax: '4MiB' } },
    { memory: { zswapMax: 'max' } },
    ['memory.zswap.max', `${4 * MiB}`, 'max'],
    undefined,
  ],
  [
    'memory',
    { memory: { oomGroup: true } },
    { memory: { oomGroup: false } },
    ['memory.oom.group', '1', '0'],
    undefined,
  ],
  [
    'memory',
    { memory: { swappiness: 10 } },
    { memory: { swappiness: 90 } },
    undefined,
    ['memory.swappiness', '10', '90'],
  ],
  [
    'memory',
    { unified: { 'memory.high': '33554432' } },
    { unified: { 'memory.high': 'max' } },
    ['memory.high', `${32 * MiB}`, 'max'],
    undefined,
  ],
  [
    'cpu',
    { cpu: { max: 0.25 } },
    { cpu: { max: { quotaUs: 30_000, periodUs: 20_000 } } },
    ['cpu.max', '25000 100000', '30000 20000'],
    ['cpu.cfs_quota_us', '25000', '30000'],
  ],
  [
    'cpu',
    { cpu: { max: 0.5, burstUs: 20_000 } },
    { cpu: { burstUs: 0 } },
    ['cpu.max.burst', '20000', '0'],
    ['cpu.cfs_burst_us', '20000', '0'],
  ],
  [
    'cpu',
    { cpu: { weight: 1 } },
    { cpu: { weight: 10_000 } },
    ['cpu.weight', '1', '10000'],
    ['cpu.shares', '2', '262144'],
  ],
  [
    'cpu',
    { cpu: { shares: 1_000 } },
    { cpu: { shares: 100 } },
    ['cpu.weight', '99', '17'],
    ['cpu.shares', '1000', '100'],
  ],
  [
    'cpu',
    { cpu: { idle: true } },
    { cpu: { idle: false, weight: 50 } },
    ['cpu.idle', '1', '0'],
    ['cpu.idle', '1', '0'],
  ],
  [
    'cpuset',
    { cpuset: { cpus: '0' } },
    { cpuset: { cpus: '0' } },
    ['cpuset.cpus', '0', '0'],
    ['cpuset.cpus', '0', '0'],
  ],
  [
    'cpuset',
    { cpuset: { mems: '0' } },
    { cpuset: { mems: '0' } },
    ['cpuset.mems', '0', '0'],
    ['cpuset.mems', '0', '0'],
  ],
  ['pids', { pids: { max: 64 } }, { pids: { max: 'max' } }, ['pids.max', '64', 'max'], ['pids.max', '64', 'max']],
  [
    'hugetlb',
    { hugetlb: { '2MB': '4MiB' } },
    { hugetlb: { '2MB': 0 } },
    ['hugetlb.2MB.max', `${4 * MiB}`, '0'],
    ['hugetlb.2MB.limit_in_bytes', `${4 * MiB}`, '0'],
  ],
  [
    'hugetlb',
    { hugetlb: { '2MB': '4MiB' } },
    { hugetlb: { '2MB': 0 } },
    ['hugetlb.2MB.rsvd.max', `${4 * MiB}`, '0'],
    ['hugetlb.2MB.rsvd.limit_in_bytes', `${4 * MiB}`, '0'],
  ],
];

describe.each(hosts.map((host) => [host.mode, host] as const))('%s', (_, host) => {
  for (const [controller, limits, update, v2, v1] of table) {
    const inKernel = host.controllers.get(controller)?.version === 1 ? v1 : v2;
    const name = `every-${process.pid}`;
    rootTest(`${JSON.stringify(limits)}, then ${JSON.stringify(update)}`, async () => {
      await using cg = await Cgroup.create(name, limits, { host, account: [controller], missing: 'warn' });
      const file = `${cg.pathOf(controller)}/${inKernel?.[0]}`;
      if (!inKernel || !existsSync(file)) {
        expect(cg.missing.length).toBeGreaterThan(0);
        await expect(cg.update(limits)).rejects.toMatchObject({ code: 'ERR_NS_UNAVAILABLE' });
        return;
      }
      expect(cg.missing).toEqual([]);
      expect(readFileSync(file, 'utf8').trim()).toBe(inKernel[1]);
      await cg.update(update);
      expect(readFileSync(file, 'utf8').trim()).toBe(inKernel[2]);
    });
  }
});
