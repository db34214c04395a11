import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { Cgroup, type CgroupHost, type Controller, detectCgroups, fromDockerLimits, type Hierarchy } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';

const machine = detectCgroups();
const test = needs(notRoot);
const name = `missing-${process.pid}`;

/** This machine, were it without a controller. */
function without(absent: Controller): CgroupHost {
  const reduced = (hierarchy: Hierarchy): Hierarchy => ({
    ...hierarchy,
    controllers: new Set([...hierarchy.controllers].filter((name) => name !== absent)),
  });
  const hierarchies = machine.hierarchies.map(reduced);
  return {
    ...machine,
    hierarchies,
    unified: hierarchies.find(({ version }) => version === 2),
    controllers: new Map(hierarchies.flatMap((tree) => [...tree.controllers].map((name) => [name, tree]))),
  };
}

test('a limit whose controller is absent is an error, and nothing is made', async () => {
  await expect(Cgroup.create(name, { pids: { max: 5 } }, { host: without('pids') })).rejects.toMatchObject({
    code: 'ERR_NS_UNAVAILABLE',
    feature: 'limits.pids',
    hint: expect.stringContaining("for a container as limits: { missing: 'warn' }"),
  });
  for (const { mountPoint } of machine.hierarchies) expect(existsSync(`${mountPoint}/ns/${name}`)).toBe(false);
});

test('with missing: warn the cgroup says what it lacks', async () => {
  await using cg = await Cgroup.create(
    name,
    { pids: { max: 5 }, memory: { max: '64MiB' } },
    { host: without('pids'), missing: 'warn' },
  );
  expect(cg.missing).toEqual([expect.objectContaining({ field: 'limits.pids', why: expect.stringContaining('pids') })]);
  expect((await cg.stats()).pids).toBeUndefined();
  expect((await cg.stats()).memory?.maxBytes).toBe(64 * 2 ** 20);
});

test('a file this kernel lacks is an absent limit too', async () => {
  const limits = { unified: { 'pids.nonexistent': '0' } };
  await expect(Cgroup.create(name, limits)).rejects.toMatchObject({ code: 'ERR_NS_UNAVAILABLE' });
  await using cg = await Cgroup.create(name, limits, { missing: 'warn' });
  expect(cg.missing[0]?.field).toMatch(/pids.nonexistent/);
});

test('an update of a controller the cgroup was made without takes it into its tree, processes included', async () => {
  await using cg = await Cgroup.create(name, { memory: { max: '64MiB' } });
  await using child = await cg.createChild('inside');
  const processes = [cg, child].map(() => spawn('sleep', ['60']));
  try {
    await child.add(processes[1]!.pid!);
    // On v2 a cgroup whose children have controllers holds no processes.
    await (machine.mode === 'v2' ? child : cg).add(processes[0]!.pid!);
    const other = await Cgroup.open(name);
    expect(await cg.update({ pids: { max: 7 } })).toEqual([]);
    expect(readFileSync(`${cg.pathOf('pids')}/pids.max`, 'utf8')).toBe('7\n');
    expect(Number(readFileSync(`${cg.pathOf('pids')}/pids.current`, 'utf8'))).toBe(2);
    // Who holds it, too, finds what there is now, and nothing is left by whoever removes it.
    expect(await other.update({ pids: { max: 9 } })).toEqual([]);
    expect((await cg.stats()).pids?.max).toBe(9);
    const path = cg.pathOf('pids')!;
    other.close();
    const third = await Cgroup.open(name);
    await third[Symbol.asyncDispose]();
    expect(existsSync(path)).toBe(false);
  } finally {
    for (const process of processes) process.kill('SIGKILL');
  }
});

test('a value the kernel refuses is its error, with the file and the value', async () => {
  await expect(Cgroup.create(name, { cpuset: { cpus: '4000' } })).rejects.toMatchObject({
    syscall: 'write',
    path: expect.stringContaining('cpuset.cpus'),
    message: expect.stringContaining('4000'),
  });
});

test('a network namespace is counted when a process in it is named', async () => {
  await using cg = await Cgroup.create(name);
  expect((await cg.stats()).network).toBeUndefined();
  expect((await cg.stats({ networkOfPid: process.pid })).network?.lo?.receivedBytes).toBeGreaterThanOrEqual(0);
});

test('limits in the words of Docker', async () => {
  const docker = { memory: '64m', memorySwap: '64m', cpus: 0.5, cpuShares: 512, pids: 20 };
  await using cg = await Cgroup.create(name, fromDockerLimits(docker), { missing: 'warn' });
  expect(cg.missing).toEqual([]);
  const stats = await cg.stats();
  expect(stats.memory?.maxBytes).toBe(64 * 2 ** 20);
  expect(stats.pids?.max).toBe(20);
});
