import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { Cgroup, type CgroupEvent, detectCgroups, onlyV1 } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';

const machine = detectCgroups();
const name = `pressure-${process.pid}`;

async function whyNoPsi(): Promise<string | undefined> {
  if (notRoot) return notRoot;
  await using cg = await Cgroup.create(`probe-${process.pid}`);
  return (await cg.stats()).pressure ? undefined : 'PSI is off or there is no cgroup v2 tree';
}
const noPsi = await whyNoPsi();

const trigger = { resource: 'cpu', stallMs: 100, windowMs: 1_000 } as const;

needs(noPsi)('a stall of 100 ms in a second is an event', async () => {
  await using cg = await Cgroup.create(name);
  using events = cg.events({ pressure: [trigger] });
  // More than there are cpus, so that somebody always waits for one.
  for (let count = availableParallelism() + 2; count > 0; count--) {
    await cg.add(spawn('sh', ['-c', 'while :; do :; done']).pid!);
  }
  const seen: CgroupEvent[] = [];
  for await (const event of events) {
    seen.push(event);
    if (event.type === 'pressure') break;
  }
  // Without CAP_SYS_RESOURCE the kernel grants windows of two seconds, which the event tells.
  expect(seen.at(-1)).toMatchObject({ type: 'pressure', resource: 'cpu', kind: 'some', stallMs: 100 });
  expect([1_000, 2_000]).toContain((seen.at(-1) as { windowMs: number }).windowMs);
  expect((await cg.stats()).pressure?.cpu?.some?.totalUs).toBeGreaterThan(100_000);
});

needs(noPsi)('without stalls there is no event', async () => {
  await using cg = await Cgroup.create(name);
  const seen: string[] = [];
  for await (const event of cg.events({ pressure: [trigger], signal: AbortSignal.timeout(500) })) seen.push(event.type);
  expect(seen).toEqual([]);
});

needs(notRoot)('triggers that cannot be are refused', async () => {
  await using cg = await Cgroup.create(name);
  for (const bad of [
    { ...trigger, windowMs: 100 },
    { ...trigger, stallMs: 2_000 },
    { ...trigger, resource: 'disk' },
  ]) {
    expect(() => cg.events({ pressure: [bad as typeof trigger] })).toThrow(
      expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC' }),
    );
  }
});

const noV1Memory = machine.controllers.get('memory')?.version === 1 ? undefined : 'the memory controller is not on v1';

needs(notRoot ?? noV1Memory)('v1 tells of usage thresholds, and has no PSI', async () => {
  await using cg = await Cgroup.create(name, { memory: { max: '64MiB' } }, { host: onlyV1(machine) });
  expect(() => cg.events({ pressure: [trigger] })).toThrow(expect.objectContaining({ code: 'ERR_NS_UNAVAILABLE' }));
  using events = cg.events({ memoryUsage: ['16MiB'] });
  const eater = spawn('sh', ['-c', 'read go; exec tail /dev/zero'], { stdio: ['pipe', 'ignore', 'ignore'] });
  await cg.add(eater.pid!);
  eater.stdin!.end('go\n');
  for await (const event of events) {
    if (event.type !== 'memory_usage') continue;
    expect(event.thresholdBytes).toBe(16 * 2 ** 20);
    break;
  }
});
