import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needs, notRoot } from '@ns/testing';
import { run } from '../src/index.ts';

/* A start that repeats another is planned no more. It must come out as if it were. */

const rootTest = needs(notRoot);

rootTest('each has its own name everywhere', async () => {
  const seen = new Set<string>();
  for (let i = 0; i < 3; i++) {
    const { stdout } = await run('sh', [
      '-c',
      'hostname; cat /etc/hostname; echo "$HOSTNAME"; grep -c "$HOSTNAME" /etc/hosts',
    ]);
    const [name = '', ...others] = stdout.trim().split('\n');
    expect(name).toMatch(/^[0-9a-f]{12}$/);
    expect(others).toEqual([name, name, '1']);
    seen.add(name);
  }
  expect(seen.size).toBe(3);
});

rootTest('what differs, differs', async () => {
  const look = async (options: Parameters<typeof run>[1] & object) =>
    (await run('sh', ['-c', 'umask; pwd; echo "$A"; readlink /proc/self/fd/0'], options)).stdout.trim().split('\n');
  for (let round = 0; round < 2; round++) {
    expect(await look({ env: { A: '1' }, stdin: 'null' })).toEqual(['0022', '/', '1', '/dev/null']);
    expect(await look({ env: { A: '2' }, stdin: 'null' })).toEqual(['0022', '/', '2', '/dev/null']);
    expect(await look({ umask: 0o77, cwd: '/tmp', stdin: 'null' })).toEqual(['0077', '/tmp', '', '/dev/null']);
    expect((await look({ env: { A: '1' } }))[3]).toMatch(/^pipe:/);
  }
});

rootTest('options that the caller changes are seen', async () => {
  const env: Record<string, string> = { A: '1' };
  expect((await run('sh', ['-c', 'echo $A'], { env })).stdout).toBe('1\n');
  env.A = '2';
  expect((await run('sh', ['-c', 'echo $A'], { env })).stdout).toBe('2\n');
});

rootTest('a failure is explained each time, with the names of that start', async () => {
  const fail = () =>
    run('true', { cwd: '/etc/passwd/inside' }).then(
      () => undefined,
      (error: unknown) => error as Error & { step?: unknown },
    );
  const [first, second] = [await fail(), await fail()];
  expect(first).toMatchObject({ code: 'ERR_NS_CONTAINER_START' });
  expect(second).toMatchObject({ code: 'ERR_NS_CONTAINER_START', message: first!.message });
});

rootTest('a place that is to be hidden is looked for at each start', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'hidden-'));
  const place = join(directory, 'secret');
  try {
    const look = async () => (await run('cat', [place], { rootfs: { host: true, hide: [place] } })).stdout;
    expect(await look()).toBe('');
    writeFileSync(place, 'the secret');
    expect(await look()).toBe('');
  } finally {
    rmSync(directory, { recursive: true });
  }
});
