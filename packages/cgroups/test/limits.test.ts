import {
  type DockerLimits,
  dockerName,
  fromDockerLimits,
  type Limits,
  parseLimits,
  parseSize,
  sharesToWeight,
  weightToShares,
} from '@ns/cgroups';
import { SpecError } from '@ns/libc';
import fc from 'fast-check';

/** `file = value` lines a limit becomes; absent limits as `field: why`. */
function plan(limits: Limits, version: 1 | 2, present: Record<string, string> = {}): string[] {
  return parseLimits(limits).controllers.flatMap(({ changes }) =>
    changes(version, (file) => present[file]).map((change) => {
      if ('absent' in change) return `${change.absent.field}: absent`;
      const writes = 'write' in change ? [change.write] : change.eitherOrder;
      return writes.map(({ file, value }) => `${file} = ${value}`).join(' & ');
    }),
  );
}

const noSwapLimit = {
  'memory.memsw.limit_in_bytes': '9223372036854771712',
  'memory.limit_in_bytes': '9223372036854771712',
};
const quota = { 'cpu.cfs_quota_us': '-1' };

const table: readonly [name: string, limits: Limits, v2: string[], v1: string[], present?: Record<string, string>][] = [
  ['memory.max', { memory: { max: '1GiB' } }, ['memory.max = 1073741824'], ['memory.limit_in_bytes = 1073741824']],
  ['no memory limit', { memory: { max: 'max' } }, ['memory.max = max'], ['memory.limit_in_bytes = -1']],
  [
    'swap, which v1 counts with memory',
    { memory: { max: 100, swapMax: 50 } },
    ['memory.max = 100', 'memory.swap.max = 50'],
    ['memory.limit_in_bytes = 100 & memory.memsw.limit_in_bytes = 150'],
    noSwapLimit,
  ],
  ['swap where it is not accounted', { memory: { swapMax: 0 } }, ['memory.swap.max = 0'], ['memory.swapMax: absent']],
  [
    'a new maximum keeps the swap allowance',
    { memory: { max: 200 } },
    ['memory.max = 200'],
    ['memory.limit_in_bytes = 200 & memory.memsw.limit_in_bytes = 250'],
    { 'memory.limit_in_bytes': '100', 'memory.memsw.limit_in_bytes': '150' },
  ],
  ['low', { memory: { low: '1m' } }, ['memory.low = 1048576'], ['memory.soft_limit_in_bytes = 1048576']],
  [
    'what only v2 has',
    { memory: { min: 1, high: 2, oomGroup: true } },
    ['memory.oom.group = 1', 'memory.min = 1', 'memory.high = 2'],
    ['memory.high: absent', 'memory.min: absent', 'memory.oomGroup: absent'],
  ],
  ['what only v1 has', { memory: { swappiness: 10 } }, ['memory.swappiness: absent'], ['memory.swappiness = 10']],
  ['shares', { cpu: { shares: 1_000 } }, ['cpu.weight = 99'], ['cpu.shares = 1000']],
  [
    'half a cpu',
    { cpu: { max: 0.5 } },
    ['cpu.max = 50000 100000'],
    ['cpu.cfs_period_us = 100000 & cpu.cfs_quota_us = 50000'],
    quota,
  ],
  [
    'a quota with its period',
    { cpu: { max: { quotaUs: 20_000, periodUs: 10_000 }, burstUs: 5_000 } },
    ['cpu.max = 20000 10000', 'cpu.max.burst = 5000'],
    ['cpu.cfs_period_us = 10000 & cpu.cfs_quota_us = 20000', 'cpu.cfs_burst_us = 5000'],
    quota,
  ],
  [
    'all cpus',
    { cpu: { max: 'max' } },
    ['cpu.max = max 100000'],
    ['cpu.cfs_period_us = 100000 & cpu.cfs_quota_us = -1'],
    quota,
  ],
  ['weight', { cpu: { weight: 100 } }, ['cpu.weight = 100'], ['cpu.shares = 1024']],
  [
    'idle comes after the weight',
    { cpu: { idle: true, weight: 5 } },
    ['cpu.weight = 5', 'cpu.idle = 1'],
    ['cpu.shares = 19', 'cpu.idle = 1'],
  ],
  [
    'cpuset',
    { cpuset: { cpus: '0-1', mems: '0' } },
    ['cpuset.cpus = 0-1', 'cpuset.mems = 0'],
    ['cpuset.cpus = 0-1', 'cpuset.mems = 0'],
  ],
  ['pids', { pids: { max: 64 } }, ['pids.max = 64'], ['pids.max = 64']],
  ['no pids limit', { pids: { max: 'max' } }, ['pids.max = max'], ['pids.max = max']],
  [
    'io rates',
    { io: { devices: [{ device: '259:7', readBps: '1m', writeIops: 100, writeBps: 'max' }] } },
    ['io.max = 259:7 rbps=1048576 wbps=max wiops=100'],
    [
      'blkio.throttle.read_bps_device = 259:7 1048576',
      'blkio.throttle.write_bps_device = 259:7 0',
      'blkio.throttle.write_iops_device = 259:7 100',
    ],
  ],
  [
    'hugetlb',
    { hugetlb: { '2MB': '4m' } },
    ['hugetlb.2MB.max = 4194304', 'hugetlb.2MB.rsvd.max = 4194304'],
    ['hugetlb.2MB.limit_in_bytes = 4194304', 'hugetlb.2MB.rsvd.limit_in_bytes = 4194304'],
  ],
  [
    'rdma',
    { rdma: { mlx5_0: { hcaHandles: 2, hcaObjects: 'max' } } },
    ['rdma.max = mlx5_0 hca_handle=2 hca_object=max'],
    ['rdma.max = mlx5_0 hca_handle=2 hca_object=max'],
  ],
  ['misc', { misc: { sev: 2 } }, ['misc.max = sev 2'], ['misc.max = sev 2']],
  ['net_cls', { netCls: { classid: 0x10001 } }, ['netCls: absent'], ['net_cls.classid = 65537']],
  ['net_prio', { netPrio: { eth0: 5 } }, ['netPrio: absent'], ['net_prio.ifpriomap = eth0 5']],
  ['raw', { unified: { 'memory.high': '5' } }, ['memory.high = 5'], ['unified.memory.high: absent']],
];

for (const [name, limits, v2, v1, present] of table) {
  test(`${name} becomes, on v2 and on v1`, () => {
    expect(plan(limits, 2)).toEqual(v2);
    expect(plan(limits, 1, present)).toEqual(v1);
  });
}

test('io weight goes to the scheduler that is there', () => {
  const limits = { io: { weight: 2_000 } };
  expect(plan(limits, 2)).toEqual(['io.weight: absent']);
  expect(plan(limits, 2, { 'io.weight': '', 'io.bfq.weight': '' })).toEqual([
    'io.weight = default 2000',
    'io.bfq.weight = default 1000',
  ]);
  expect(plan(limits, 1, { 'blkio.bfq.weight': '' })).toEqual(['blkio.bfq.weight = 1000']);
});

test.each<[unknown, string]>([
  [{ memroy: {} }, 'limits.memroy'],
  [{ memory: { maxx: 1 } }, 'limits.memory.maxx'],
  [{ memory: { max: -1 } }, 'limits.memory.max'],
  [{ memory: { max: '1 parsec' } }, 'limits.memory.max'],
  [{ memory: { max: Number.NaN } }, 'limits.memory.max'],
  [{ memory: { max: 1.5 } }, 'limits.memory.max'],
  [{ memory: { max: '9e' } }, 'limits.memory.max'],
  [{ memory: { oomGroup: 1 } }, 'limits.memory.oomGroup'],
  [{ memory: { swappiness: 101 } }, 'limits.memory.swappiness'],
  [{ memory: null }, 'limits.memory'],
  [{ cpu: { max: 0 } }, 'limits.cpu.max'],
  [{ cpu: { max: -1 } }, 'limits.cpu.max'],
  [{ cpu: { max: '2' } }, 'limits.cpu.max'],
  [{ cpu: { max: { quotaUs: 999 } } }, 'limits.cpu.max.quotaUs'],
  [{ cpu: { max: { periodUs: 2e6 } } }, 'limits.cpu.max.periodUs'],
  [{ cpu: { weight: 0 } }, 'limits.cpu.weight'],
  [{ cpu: { weight: 100, shares: 1_024 } }, 'limits.cpu.shares'],
  [{ cpu: { shares: 1 } }, 'limits.cpu.shares'],
  [{ cpuset: { cpus: '0-' } }, 'limits.cpuset.cpus'],
  [{ cpuset: { cpus: '3-1' } }, 'limits.cpuset.cpus'],
  [{ cpuset: { cpus: '0\n1' } }, 'limits.cpuset.cpus'],
  [{ pids: { max: 1.5 } }, 'limits.pids.max'],
  [{ pids: { max: '64' } }, 'limits.pids.max'],
  [{ io: { devices: [{}] } }, 'limits.io.devices[0].device'],
  [{ io: { devices: [{ device: '/dev/null' }] } }, 'limits.io.devices[0].device'],
  [{ io: { devices: [{ device: '/no/such' }] } }, 'limits.io.devices[0].device'],
  [{ io: { devices: [{ device: '8:0', readBps: 0 }] } }, 'limits.io.devices[0].readBps'],
  [{ hugetlb: { '2 MB': 1 } }, 'limits.hugetlb.2 MB'],
  [{ unified: { 'cgroup.procs': '1' } }, 'limits.unified.cgroup.procs'],
  [{ unified: { '../memory.max': '1' } }, 'limits.unified.../memory.max'],
  [{ unified: { 'memory.max': 1 } }, 'limits.unified.memory.max'],
  [{ devices: [{ type: 'c' }] }, 'limits.devices[0].allow'],
  [{ devices: [{ allow: true, access: 'rx' }] }, 'limits.devices[0].access'],
  [{ devices: [{ allow: true, major: -1 }] }, 'limits.devices[0].major'],
  [{ netCls: {} }, 'limits.netCls.classid'],
])('%j is refused, naming %s', (limits, field) => {
  expect(() => parseLimits(limits as Limits)).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field }));
});

test('a misspelt key names its neighbour', () => {
  expect(() => parseLimits({ memory: { swapmax: 1 } } as Limits)).toThrow(/Did you mean swapMax\?/);
});

test.each([
  ['1g', 2 ** 30],
  ['256MiB', 2 ** 28],
  ['1.5k', 1_536],
  [' 7 b ', 7],
  ['10 MB', 10 * 2 ** 20],
  [0, 0],
  ['max', Number.POSITIVE_INFINITY],
])('the size %j is %d bytes', (size, bytes) => {
  expect(parseSize(size, 'size')).toBe(bytes);
});

test('no text makes a size that is no size', () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      try {
        const bytes = parseSize(value, 'size');
        expect(bytes === Number.POSITIVE_INFINITY || (Number.isSafeInteger(bytes) && bytes >= 0)).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(SpecError);
      }
    }),
  );
});

test('shares and weights are two names of one curve', () => {
  expect([2, 1_024, 262_144].map(sharesToWeight)).toEqual([1, 100, 10_000]);
  expect([1, 100, 10_000].map(weightToShares)).toEqual([2, 1_024, 262_144]);
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 262_143 }), (shares) => {
      expect(sharesToWeight(shares + 1)).toBeGreaterThanOrEqual(sharesToWeight(shares));
    }),
  );
});

test('the words of Docker', () => {
  expect(
    fromDockerLimits({
      memory: '100m',
      memorySwap: '150m',
      memoryReservation: '50m',
      memoryHigh: '90m',
      cpus: 1.5,
      cpuShares: 1_024,
      cpusetCpus: '0',
      cpusetMems: '0',
      pids: 10,
      io: [{ device: '8:0', readBps: '1m' }],
      hugepages: { '2MB': '2m' },
      unified: { 'memory.zswap.max': '0' },
    }),
  ).toEqual({
    memory: { max: '100m', swapMax: 50 * 2 ** 20, low: '50m', high: '90m' },
    cpu: { max: 1.5, shares: 1_024 },
    cpuset: { cpus: '0', mems: '0' },
    pids: { max: 10 },
    io: { devices: [{ device: '8:0', readBps: '1m' }] },
    hugetlb: { '2MB': '2m' },
    unified: { 'memory.zswap.max': '0' },
  });
  expect(fromDockerLimits({})).toEqual({});
  expect(fromDockerLimits({ memory: 100 })).toEqual({ memory: { max: 100, swapMax: 100 } });
  expect(fromDockerLimits({ memory: 100, memorySwap: -1 })).toEqual({ memory: { max: 100, swapMax: 'max' } });
  expect(fromDockerLimits({ cpuQuotaUs: 50_000, cpuPeriodUs: 25_000 })).toEqual({
    cpu: { max: { quotaUs: 50_000, periodUs: 25_000 } },
  });
  expect(fromDockerLimits({ pids: -1 })).toEqual({ pids: { max: 'max' } });
});

test.each([
  [{ memorySwap: '1g' }, 'limits.memorySwap'],
  [{ memory: '1g', memorySwap: '1m' }, 'limits.memorySwap'],
  [{ cpus: 1, cpuQuotaUs: 5_000 }, 'limits.cpus'],
  [{ cpuShares: 1 }, 'limits.cpuShares'],
  [{ memoryy: 1 }, 'limits.memoryy'],
])('%j contradicts itself or the kernel', (limits, field) => {
  expect(() => fromDockerLimits(limits as DockerLimits)).toThrow(expect.objectContaining({ field }));
});

test.each<[path: string, limits: DockerLimits, name: string]>([
  ['limits.memory.low', { memory: '1g', memoryReservation: '1g' }, 'limits.memoryReservation'],
  ['limits.memory.swapMax', { memory: '1g' }, 'limits.memory'],
  ['limits.memory.swapMax', { memory: '1g', memorySwap: '1g' }, 'limits.memorySwap'],
  ['limits.memory', { memoryReservation: '1g' }, 'limits.memoryReservation'],
  ['limits.cpu', { cpuShares: 100 }, 'limits.cpuShares'],
  ['limits.cpu.max', { cpuQuotaUs: 5_000 }, 'limits.cpuQuotaUs'],
  ['limits.cpu.max', {}, 'limits.cpus'],
  ['limits.cpu.max.quotaUs', { cpuQuotaUs: 1, cpuPeriodUs: 1 }, 'limits.cpuQuotaUs'],
  ['limits.pids', { pids: 1 }, 'limits.pids'],
  ['limits.io.devices[0].weight', { io: [] }, 'limits.io[0].weight'],
  ['limits.hugetlb.2MB', { hugepages: { '2MB': 1 } }, 'limits.hugepages.2MB'],
  ['limits.unified.memory.high', { unified: {} }, 'limits.unified.memory.high'],
  ['a cgroup of its own', {}, 'a cgroup of its own'],
])('%s of %j is %s', (path, limits, name) => {
  expect(dockerName(path, limits)).toBe(name);
});
