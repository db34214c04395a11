import { mkdtempSync, rmSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { landlockSupport, spawnRestricted } from '@ns/lsm';
import { needs } from '@ns/testing';

needs(landlockSupport().abi >= 4 ? undefined : 'Landlock: ABI 4 is wanted')('the example of the README', async () => {
  const job = mkdtempSync('/tmp/job-');
  try {
    const child = spawnRestricted('sh', ['-c', 'echo result > out; cat out /etc/passwd'], {
      landlock: {
        files: {
          execute: ['/usr', '/bin', '/lib', '/lib64'],
          readWrite: [job],
          missingPaths: 'skip',
        },
        network: { connect: [443] },
      },
      cwd: job,
      timeout: 10_000,
    });
    const [stdout, stderr, { exitCode }] = await Promise.all([text(child.stdout!), text(child.stderr!), child.exited]);

    expect({ stdout, stderr, exitCode }).toEqual({
      stdout: 'result\n',
      stderr: 'cat: /etc/passwd: Permission denied\n',
      exitCode: 1,
    });
  } finally {
    rmSync(job, { recursive: true });
  }
});
