import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cgroup, detectCgroups } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';
import { blockDevice } from '../src/block-device.ts';

const directory = process.env.NS_TEST_DIR ?? tmpdir();

function whyNoDisk(): string | undefined {
  try {
    blockDevice(directory, 'directory');
    return detectCgroups().controllers.has('io') ? undefined : 'no io controller';
  } catch (error) {
    return `${directory} is on no disk: ${(error as Error).message}`;
  }
}

const missing = notRoot ?? whyNoDisk();

needs(missing)('writing to a device, named by a path on it, takes as long as the limit says', async () => {
  const file = join(directory, `ns-io-${process.pid}`);
  await using cg = await Cgroup.create(`io-${process.pid}`, {
    io: { devices: [{ device: directory, writeBps: '4MiB', readIops: 1_000 }] },
  });
  const joined = cg.paths.map((path) => `echo 0 > ${path}/cgroup.procs`).join(' && ');
  const write = (): number => {
    const begin = performance.now();
    const { status } = spawnSync('sh', [
      '-c',
      `${joined} && exec dd if=/dev/zero of=${file} bs=1M count=6 oflag=direct 2>/dev/null`,
    ]);
    expect(status).toBe(0);
    return performance.now() - begin;
  };
  try {
    expect(write()).toBeGreaterThan(1_000); // 6 MiB at 4 MiB a second, of which the first goes at once
    const { io } = await cg.stats();
    expect(io?.devices[blockDevice(directory, 'directory')]?.writeBytes).toBeGreaterThanOrEqual(6 * 2 ** 20);
    await cg.update({ io: { devices: [{ device: directory, writeBps: 'max' }] } });
    expect(Math.min(write(), write(), write())).toBeLessThan(1_000);
  } finally {
    rmSync(file, { force: true });
  }
});

needs(missing)('a limit is in the file of the kernel, and update takes it away', async () => {
  await using cg = await Cgroup.create(`io-${process.pid}`, {
    io: { devices: [{ device: directory, readBps: '1MiB' }] },
  });
  const version = detectCgroups().controllers.get('io')!.version;
  const file = `${cg.pathOf('io')}/${version === 2 ? 'io.max' : 'blkio.throttle.read_bps_device'}`;
  expect(readFileSync(file, 'utf8')).toContain('1048576');
  await cg.update({ io: { devices: [{ device: directory, readBps: 'max' }] } });
  expect(readFileSync(file, 'utf8')).not.toContain('1048576');
});

needs(missing)('a limit of io holds for children, also where the kernel does not hand it down', async () => {
  const file = join(directory, `ns-io-child-${process.pid}`);
  await using cg = await Cgroup.create(`io-${process.pid}`, {
    io: { devices: [{ device: directory, writeBps: '4MiB' }] },
  });
  await using child = await cg.createChild('exec', {}, { account: ['io'] });
  using plan = child.joinPlan();
  const files = [...plan.procs, ...(plan.cloneInto ? [`${child.paths[0]}/cgroup.procs`] : [])];
  const joined = files.map((path) => `echo 0 > ${path}`).join(' && ');
  try {
    const begin = performance.now();
    const write = `${joined} && exec dd if=/dev/zero of=${file} bs=1M count=6 oflag=direct 2>/dev/null`;
    expect(spawnSync('sh', ['-c', write]).status).toBe(0);
    expect(performance.now() - begin).toBeGreaterThan(1_000);
  } finally {
    rmSync(file, { force: true });
  }
});

function whyWeighted(): string | undefined {
  const scheduler = readFileSync(`/sys/dev/block/${blockDevice(directory, 'directory')}/queue/scheduler`, 'utf8');
  return scheduler.includes('[bfq]') ? 'the disk has a scheduler with weights' : undefined;
}

needs(missing ?? whyWeighted())('a weight for a disk whose scheduler has none says which one has', async () => {
  const name = `io-${process.pid}`;
  const limits = { io: { devices: [{ device: directory, weight: 200 }] } };
  const refused = await Cgroup.create(name, limits).catch((error) => error);
  expect(refused).toMatchObject({ hint: expect.stringContaining('bfq in /sys/block') });
  if (detectCgroups().controllers.get('io')?.version === 2) return;
  expect(refused).toMatchObject({ code: 'ERR_NS_UNAVAILABLE', feature: 'limits.io.devices[0].weight' });
  await using cg = await Cgroup.create(name, limits, { missing: 'warn' });
  expect(cg.missing).toMatchObject([{ field: 'limits.io.devices[0].weight' }]);
});
