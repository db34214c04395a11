import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { allocateIds, enter, listNamespaces, Namespace, unpin } from '@ns/namespaces';
import { needs, notRoot } from '@ns/testing';

needs(notRoot)('the example of the README', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'ns-readme-'));
  const [path, stateDir] = [join(directory, 'blue'), join(directory, 'ids')];
  const pid = spawn('sleep', ['60']).pid!;
  const seen: string[] = [];
  try {
    using net = Namespace.create('net'); // or Namespace.open('net', { pid } | { pidfd } | { path })
    net.pin(path); // it now lives without us, as `ip netns` names do
    net.enter(() => networkInterfaces()); // {}: this thread was in there, and is back

    for (const { name, processes, pins } of listNamespaces({ kinds: ['net'] })) {
      seen.push(`${name}: ${processes.length} processes, pinned at ${pins.join(', ') || 'no path'}`);
    }

    // nsenter --target pid --all, without nsenter
    const { stdout, exitCode } = await enter({ target: pid, namespaces: 'all' }, 'hostname');

    // 65536 host ids that no other container has, until the lease is released or its owner dies
    await using lease = await allocateIds({ stateDir });
    lease.mappings.uids.toHost(0); // 805306368

    expect(exitCode).toBe(0);
    expect(stdout).not.toBe('');
    expect(lease.mappings.uids.toHost(0)).toBeGreaterThanOrEqual(805_306_368);
    expect(listNamespaces({ kinds: ['net'] }).find(({ name }) => name === net.name)?.pins).toEqual([path]);
  } finally {
    unpin(path);
    process.kill(pid, 'SIGKILL');
    rmSync(directory, { recursive: true });
  }
});
