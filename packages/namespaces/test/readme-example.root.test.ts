import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { allocateIds, enter, listNamespaces, Namespace, unpin } from '@ns/namespaces';
import { needs, notRoot } from '@ns/testing';

// The code of the README, with paths of the test's own.
needs(notRoot)('the example of the README', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'ns-readme-'));
  const [blue, stateDir] = [join(directory, 'blue'), join(directory, 'ids')];
  using net = Namespace.create('net');
  net.pin(blue);
  const interfaces = net.enter(() => networkInterfaces());
  const lines = listNamespaces({ kinds: ['net'] }).map(({ name, processes, pins }) => [
    name,
    processes.length,
    ...pins,
  ]);
  unpin(blue);

  expect(interfaces).toEqual({});
  expect(lines).toContainEqual([net.name, 0, blue]);
  expect(existsSync(blue)).toBe(false);

  const child = spawn('unshare', ['--net', 'sh', '-c', 'echo ready; exec sleep 60']);
  try {
    await once(child.stdout, 'data');
    const { stdout } = await enter({ target: child.pid!, namespaces: 'all' }, 'ip', ['-brief', 'link']);
    expect(stdout).toMatch(/^lo +DOWN/);

    await using lease = await allocateIds({ stateDir });
    expect(lease.mappings.uids.toHost(0)).toBeGreaterThanOrEqual(805_306_368);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
    rmSync(directory, { recursive: true });
  }
});
