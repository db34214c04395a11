import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { Cgroup } from '@ns/cgroups';
import { needs, notRoot, slowness } from '@ns/testing';

const name = `many-${process.pid}`;
const limits = { memory: { max: '64MiB' }, pids: { max: 20 }, cpu: { max: 0.5 } };
const descriptors = (): number => readdirSync('/proc/self/fd').length;

needs(notRoot)('files of many cgroups stay open between two readings, and all are closed at the end', async () => {
  // What Node and this package open once and keep.
  await (await Cgroup.create(name, limits))[Symbol.asyncDispose]();
  const before = descriptors();
  const cgroups = await Promise.all(Array.from({ length: 100 }, (_, at) => Cgroup.create(`${name}/${at}`, limits)));
  const made = descriptors();
  for (const cg of cgroups) expect((await cg.stats()).pids).toMatchObject({ current: 0, max: 20 });
  const read = descriptors();
  expect(read - made).toBeGreaterThanOrEqual(100 * 10);
  for (const cg of cgroups) await cg.stats();
  expect(descriptors()).toBe(read);
  for (const cg of cgroups) {
    await cg[Symbol.asyncDispose]();
    cg.close();
  }
  expect(descriptors()).toBe(before);
});

needs(notRoot)('only what is asked for is read', async () => {
  await using cg = await Cgroup.create(name, limits);
  const before = descriptors();
  const stats = await cg.stats({ only: ['pids'] });
  expect(stats.pids).toMatchObject({ current: 0, max: 20 });
  expect(Object.values(stats).filter((value) => value !== undefined)).toHaveLength(1);
  expect(descriptors() - before).toBeLessThanOrEqual(4);
  expect((await cg.stats({ only: [] })).memory).toBeUndefined();
  await expect(cg.stats({ only: ['pid' as 'pids'] })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});

needs(notRoot)('to watch many takes no thread, and each is told of its own', async () => {
  const threads = (): number => readdirSync('/proc/self/task').length;
  const cgroups = await Promise.all(Array.from({ length: 30 }, (_, at) => Cgroup.create(`${name}/${at}`, limits)));
  const sleeper = spawn('sleep', ['60']);
  try {
    await cgroups[0]!.add(sleeper.pid!);
    const before = threads();
    const streams = cgroups.slice(1).map((cg) => cg.events({ signal: AbortSignal.timeout(10_000 * slowness) }));
    const first = streams.map((events) => events.next());
    expect(threads()).toBe(before);
    for (const [at, cg] of cgroups.slice(1).entries()) {
      await cg.add(sleeper.pid!);
      expect(await first[at]).toMatchObject({ value: { type: 'populated', populated: true } });
    }
    expect(threads()).toBe(before);
    for (const events of streams) await events.return?.();
  } finally {
    sleeper.kill('SIGKILL');
    for (const cg of cgroups) await cg[Symbol.asyncDispose]();
  }
});
