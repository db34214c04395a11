import { categoryPairLevel, containerLabels } from '@ns/lsm';
import { loadSelinuxTestPolicy, needs, notRoot } from '@ns/testing';
import { run } from '../src/index.ts';

/* Runs in the virtual machine: npm run test:vm -- --append security=selinux packages/core/test/selinux.root */

const selinux = needs(notRoot ?? loadSelinuxTestPolicy());
const mine = containerLabels({ level: categoryPairLevel(1, 2) });
const others = containerLabels({ level: categoryPairLevel(3, 4) });
const script =
  'cat /proc/self/attr/current; echo; for f in /file /dev/shm/file; do echo x > $f && cat $f || echo refused; done';

selinux(
  'process and files of a container have its labels',
  async () => {
    const { stdout } = await run('sh', ['-c', script], { selinux: mine });
    expect(stdout).toBe(`${mine.process}\0\nx\nx\n`);
  },
  60_000,
);

selinux(
  'files of other containers are out of reach',
  async () => {
    // Not even the shell can be read.
    const { stdout, exitCode } = await run('sh', ['-c', script], { selinux: { ...mine, mount: others.mount } });
    expect(stdout).toBe('');
    expect(exitCode).not.toBe(0);
  },
  60_000,
);

selinux('either of the two modules, not both', async () => {
  await expect(run('true', [], { selinux: mine, apparmor: 'x' })).rejects.toMatchObject({ field: 'apparmor' });
});
