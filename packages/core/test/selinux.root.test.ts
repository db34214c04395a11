import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { categoryPairLevel, containerLabels } from '@ns/lsm';
import { eventually, loadSelinuxTestPolicy, needs, notRoot } from '@ns/testing';
import { Container, run } from '../src/index.ts';

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

selinux(
  'so have the files of every tmpfs, what it begins with included, also of one that is mounted later',
  async () => {
    const layer = mkdtempSync(join(tmpdir(), 'ns-selinux-'));
    try {
      for (const name of ['bin', 'data']) mkdirSync(join(layer, name));
      copyFileSync('/bin/busybox', join(layer, 'bin/busybox'));
      writeFileSync(join(layer, 'data/seed'), 'seed\n');
      const begun = { type: 'tmpfs', options: ['tmpcopyup'] } as const;
      await using container = await Container.create({
        command: ['/bin/busybox', 'sleep', '600'],
        rootfs: layer,
        selinux: mine,
        mounts: [{ ...begun, target: '/data' }],
      });
      await container.start();
      await container.mount({ type: 'tmpfs', target: '/empty' });
      await container.mount({ ...begun, target: '/bin' });
      const script =
        'for d in /data /empty /bin; do echo x > $d/new && busybox cat $d/new; done; busybox cat /data/seed';
      const { stdout } = await container.exec('/bin/busybox', ['sh', '-c', `PATH=/bin; ${script}`]);
      expect(stdout).toBe('x\nx\nx\nseed\n');
      const mounts = readFileSync(`/proc/${container.pid}/mountinfo`, 'utf8').split('\n');
      for (const target of ['/data', '/empty', '/bin'])
        expect(mounts.find((line) => line.split(' ')[4] === target)).toContain(mine.mount);
    } finally {
      rmSync(layer, { recursive: true });
    }
  },
  60_000,
);

selinux('either of the two modules, not both', async () => {
  await expect(run('true', [], { selinux: mine, apparmor: 'x' })).rejects.toMatchObject({ field: 'apparmor' });
});

const labelOf = (pid: number) => readFileSync(`/proc/${pid}/attr/current`, 'latin1').replace('\0', '');

selinux(
  'the init has the label of the program, and still says how it ended',
  async () => {
    await using container = await Container.create({ command: ['sleep', '600'], selinux: mine });
    await container.start();
    expect(container.warnings.filter(({ code }) => code === 'NS_SELINUX_INIT_UNLABELLED')).toEqual([]);
    const [init, program] = await container.processes();
    expect(labelOf(program!.hostPid)).toBe(mine.process);
    // When the program runs, the init is about to.
    expect(await eventually(() => labelOf(init!.hostPid) === mine.process, 20_000)).toBe(true);
    await container.kill('SIGKILL');
    expect(await container.wait()).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  },
  120_000,
);

selinux(
  'where the policy does not let the init change its label, that is said',
  async () => {
    const process = 'system_u:system_r:guarded_t:s0';
    for (const init of [true, false]) {
      await using container = await Container.create({ command: ['sleep', '600'], selinux: { process }, init });
      await container.start();
      const warning = {
        code: 'NS_SELINUX_INIT_UNLABELLED',
        name: process,
        message: expect.stringContaining('dyntransition'),
        hint: expect.stringContaining('init: false'),
      };
      const about = container.warnings.filter(({ code }) => code === 'NS_SELINUX_INIT_UNLABELLED');
      expect(about).toEqual(init ? [warning] : []);
      const labels = (await container.processes()).map(({ hostPid }) => labelOf(hostPid));
      expect(labels).toEqual(init ? [labelOf(globalThis.process.pid), process] : [process]);
    }
  },
  120_000,
);
