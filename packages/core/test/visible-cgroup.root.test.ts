import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { detectCgroups } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';
import { Container, run, Wait } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* What a container sees of the cgroup it is in: /sys/fs/cgroup. */

useOwnStateRoot();
const rootTest = needs(notRoot);
const limits = { memory: '64MiB', pids: 40 };
const read = (...files: string[]): string =>
  `cd /sys/fs/cgroup; cat ${files.join(' ')} 2>/dev/null; grep " /sys/fs/cgroup" /proc/mounts`;
const pids = read('pids.max', 'pids/pids.max');

rootTest('its limits, where programs look for them, and nothing that can be written', async () => {
  const { stdout } = await run('sh', ['-c', read('memory.max', 'memory/memory.limit_in_bytes')], { limits });
  const [limit, ...mounts] = stdout.trim().split('\n');
  expect(limit).toBe(String(64 * 2 ** 20));
  expect(mounts.length).toBeGreaterThan(0);
  // Of several mounts on one place the last is the one that is seen.
  const seen = new Map(mounts.map((mount) => [mount.split(' ')[1], mount.split(' ')[3]]));
  for (const options of seen.values()) expect(options).toMatch(/^ro,nosuid,nodev,noexec/);
  const attempt =
    'cd /sys/fs/cgroup; for file in $(find . -name cgroup.procs); do echo 0 > $file; done; mkdir new */new';
  const { stderr, exitCode } = await run('sh', ['-c', attempt], { limits, privileged: true });
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain('Read-only file system');
});

rootTest('what an update says, and no other container', async () => {
  await using container = await Container.create({ command: ['sleep', '60'], limits });
  await using other = await Container.create({ command: ['sleep', '60'], limits });
  await container.start();
  await other.start();
  expect((await container.exec('sh', ['-c', pids])).stdout).toMatch(/^40\n/);
  await container.update({ limits: { pids: 50 } });
  expect((await container.exec('sh', ['-c', pids])).stdout).toMatch(/^50\n/);
  const { stdout } = await container.exec('find', ['/sys/fs/cgroup', '-name', 'ns*']);
  expect(stdout).toBe('');
});

rootTest('nothing where it has none of its own', async () => {
  expect((await run('ls', ['-A', '/sys/fs/cgroup'])).stdout).toBe('');
});

describe('the cgroup namespace of another container, with limits of its own', () => {
  for (const [what, spec] of [
    ['and the same ids', {}],
    ['beside ids of its own', { idMap: 'auto' }],
    ['beside the user namespace of a third', { user: true }],
  ] as const)
    rootTest(what, async () => {
      const command = ['sleep', '600'];
      await using first = await Container.create({ command });
      await using third = await Container.create({ command, idMap: 'auto' });
      await Promise.all([first.start(), third.start()]);
      const { user = false, ...rest } = { user: false, ...spec };
      const namespaces = { cgroup: { container: first }, ...(user && { user: { container: third } }) };
      await using container = await Container.create({ command, limits, namespaces, ...rest });
      await container.start();
      const linkOf = (pid: number) => readlinkSync(`/proc/${pid}/ns/cgroup`);
      expect(linkOf(container.pid!)).toBe(linkOf(first.pid!));
      const cgroup = readFileSync(`/proc/${container.pid}/cgroup`, 'utf8');
      expect(cgroup).toContain(container.id);
      expect(cgroup).not.toContain(first.id);
      expect((await container.exec('readlink', ['/proc/self/ns/cgroup'])).stdout).toBe(`${linkOf(first.pid!)}\n`);
      expect((await container.stats()).pids).toMatchObject({ current: 2, max: 40 });
    });
});

describe('the plan that is shown', () => {
  const textOf = (explanation: ReturnType<typeof Container.explain>) =>
    String(explanation).replaceAll(/\b[0-9a-f]{64}\b/g, 'ID');
  const notV2 = detectCgroups().mode === 'v2' ? undefined : 'not a cgroup v2 host';

  for (const [what, options, missing] of [
    ['limits', { limits }, undefined],
    ['limits of cpu time', { limits: { cpus: 0.5, cpuShares: 512 } }, undefined],
    ['no limits', {}, undefined],
    ['a cgroup to manage', { limits, cgroupAccess: 'delegated' }, notV2],
  ] as const) {
    needs(notRoot ?? missing)(`is the one that is carried out, with ${what}`, async () => {
      const spec = { command: ['true'], hostname: 'planned', ...options };
      const shown = textOf(Container.explain(spec));
      await using container = await Container.create(spec);
      expect(shown).toBe(textOf(container.explain()));
      expect(shown).toMatch(what === 'no limits' ? /ns-ID/ : /(mount|bind): .* (on|to) \/sys\/fs\/cgroup/);
    });
  }

  rootTest('makes nothing', () => {
    const place = Container.explain({ command: ['true'], limits });
    const [directory] = /\/sys\/fs\/cgroup\/\S+\/ns-[0-9a-f]{64}/.exec(String(place))!;
    expect(existsSync(directory)).toBe(false);
  });
});

rootTest('with ids of its own as well', async () => {
  const { stdout } = await run('sh', ['-c', pids], { limits, idMap: 'auto' });
  expect(stdout).toMatch(/^40\n/);
});

describe('delegated', () => {
  const delegated = { command: ['sleep', '60'], limits, cgroupAccess: 'delegated' } as const;
  const notV2 = detectCgroups().mode === 'v2' ? undefined : 'not a cgroup v2 host';
  // As a container engine inside would: room for children, then one with a limit of its own and a process.
  const manage = `cd /sys/fs/cgroup && mkdir own job && echo 1 > own/cgroup.procs && echo $$ > own/cgroup.procs &&
    echo +pids > cgroup.subtree_control && echo 5 > job/pids.max && echo $$ > job/cgroup.procs && cat /proc/self/cgroup job/pids.max`;
  const command = ['sh', '-c', `${manage}; exec sleep 60`] as const;

  for (const idMap of [undefined, 'auto'] as const) {
    needs(notRoot ?? notV2)(`it makes cgroups of its own, ${idMap ? 'with ids of its own' : 'as root'}`, async () => {
      await using container = await Container.create({
        ...delegated,
        command: [...command],
        init: false,
        ...(idMap && { idMap }),
        wait: Wait.log(/^5$/m),
      });
      await container.start();
      const { stdout } = await container.exec('sh', [
        '-c',
        'grep " /sys/fs/cgroup" /proc/mounts; find /sys/fs/cgroup -name pids.max',
      ]);
      expect(stdout).toMatch(/ cgroup2 rw,nosuid,nodev,noexec/);
      expect(stdout).toContain('/sys/fs/cgroup/job/pids.max\n');
      expect((await container.stats()).pids?.max).toBe(40);
      await container.remove({ force: true });
    });
  }

  needs(notRoot ?? notV2)('who runs out of memory in a cgroup of its own has run out of memory', async () => {
    const inOwn = 'mkdir /sys/fs/cgroup/own && echo $$ > /sys/fs/cgroup/own/cgroup.procs &&';
    const limits = { memory: '32MiB', memorySwap: '32MiB' };
    const endOf = async (act: string) => {
      const command = ['sh', '-c', `${inOwn} exec ${act}`];
      await using container = await Container.create({ ...delegated, command, limits, init: false });
      await container.start();
      return await container.wait();
    };
    const hog = await endOf('tail /dev/zero');
    expect(hog).toMatchObject({ signal: 'SIGKILL', reason: 'oom' });
    const killed = await endOf('timeout -s KILL 0.1 sleep 60');
    expect(killed.reason).not.toBe('oom');
  });

  needs(notRoot)("not with the host's namespace, where it would be the host's tree", async () => {
    const shared = { ...delegated, namespaces: { cgroup: 'host' } } as const;
    const error = await Container.create(shared).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: notV2 ? 'ERR_NS_UNAVAILABLE' : 'ERR_NS_INVALID_SPEC' });
  });

  needs(notRoot ?? (notV2 ? undefined : 'a cgroup v2 host'))('not of v1 trees', async () => {
    await expect(Container.create(delegated)).rejects.toMatchObject({
      code: 'ERR_NS_UNAVAILABLE',
      message: expect.stringContaining('cgroupAccess'),
    });
  });
});
