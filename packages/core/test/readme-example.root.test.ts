import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needs, notRoot } from '@ns/testing';
import { Container, run } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

useOwnStateRoot();

// The example of README.md, with a path of its own.
needs(notRoot)('the example of the README', async () => {
  const work = mkdtempSync(join(tmpdir(), 'core-readme-'));
  writeFileSync(join(work, 'untrusted.js'), 'console.log(process.pid, 6 * 7)');
  try {
    const { stdout, reason, usage } = await run('node', ['/job/untrusted.js'], {
      mounts: [{ source: work, target: '/job', readonly: true }],
      limits: { memory: '256MiB', cpus: 1, pids: 64 },
      timeout: 10_000,
    });

    const container = await Container.create({ command: ['sleep', 'infinity'], hostname: 'sandbox' });
    await container.start();
    const uname = await container.exec('uname', ['-n']);
    await container.remove({ force: true }); // or: await using container = …

    expect([stdout, reason]).toEqual(['2 42\n', 'exit']);
    expect(usage.memoryPeakBytes).toBeGreaterThan(0);
    expect(uname.stdout).toBe('sandbox\n');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
});
