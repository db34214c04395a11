import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Cgroup } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';

needs(notRoot)('the example of the README', async () => {
  // A job that may use half a cpu, 32 MiB and 64 processes.
  await using cg = await Cgroup.create('jobs/42', {
    memory: { max: '32MiB', swapMax: 0 },
    pids: { max: 64 },
    cpu: { max: 0.5 },
  });
  const child = spawn('sh', ['-c', 'read go; exec tail /dev/zero'], { stdio: ['pipe', 'inherit', 'inherit'] });
  await cg.add(child.pid!);
  const events = cg.events({ signal: AbortSignal.timeout(20_000) });
  child.stdin!.end('go\n');

  for await (const event of events) {
    if (event.type === 'oom_kill') break;
  }
  await once(child, 'exit');
  const { memory, cpu } = await cg.stats();
  expect(cg.oomKills()).toBe(1); // the verdict: out of memory, not just "exit 137"
  expect(memory?.peakBytes ?? memory?.maxBytes).toBeLessThanOrEqual(32 * 2 ** 20);
  expect(cpu?.usageUs).toBeGreaterThan(0);
  // The end of the block kills what is left and removes the cgroup.
});
