import { text } from 'node:stream/consumers';
import { pidfdOpen, SyscallError } from '@ns/libc';
import { enter, IdMap, namespaceKinds, writeIdMapsDirectly } from '@ns/namespaces';
import { needs, notRoot } from '@ns/testing';
import { elsewhere, kernelName } from './fixtures.ts';

const test = needs(notRoot);

const script = namespaceKinds.map((kind) => `readlink /proc/self/ns/${kind}`).join('; ');
const namesOf = (pid: number | 'self') => namespaceKinds.map((kind) => kernelName(pid, kind));

test('all namespaces of a process, by pid and by pidfd', async () => {
  await using other = await elsewhere('--net', '--uts', '--ipc', '--mount', '--cgroup');
  using pidfd = pidfdOpen(other.pid);
  for (const target of [other.pid, { pid: other.pid }, { pidfd: pidfd.fd }]) {
    const result = await enter({ target, namespaces: 'all' }, 'sh', ['-c', script]);
    expect(result).toMatchObject({ exitCode: 0, signal: null, reason: 'exit', stderr: '', truncated: false });
    expect(result.stdout.trim().split('\n')).toEqual(namesOf(other.pid));
  }
});

test('any one of them, the others being ours', async () => {
  await using other = await elsewhere('--net', '--uts', '--ipc', '--mount', '--cgroup', '--time', '--fork');
  for (const kind of ['net', 'uts', 'ipc', 'cgroup', 'mount'] as const) {
    const { stdout } = await enter({ target: other.pid, namespaces: [kind] }, ['sh', '-c', script]);
    const own = kind === 'mount' ? 'mnt' : kind;
    expect(stdout.trim().split('\n')).toEqual(
      namespaceKinds.map((each) => kernelName(each === own ? other.pid : 'self', each)),
    );
  }
});

test('a pid namespace and its /proc: the program is a process there', async () => {
  await using other = await elsewhere('--pid', '--fork', '--mount-proc');
  const { stdout } = await enter({ target: other.pid, namespaces: ['pid', 'mnt'] }, 'sh', [
    '-c',
    'echo $$; ls -d /proc/[0-9]* | wc -l',
  ]);
  const [pid, visible] = stdout.trim().split('\n').map(Number);
  expect(pid).toBeLessThan(20);
  expect(visible).toBeLessThan(6);
});

test('a time namespace, with its clock', async () => {
  await using other = await elsewhere('--time', '--boottime', '864000', '--fork');
  const { stdout } = await enter({ target: other.pid, namespaces: ['time'] }, 'cat', ['/proc/uptime']);
  const ours = Number(
    (await enter({ target: other.pid, namespaces: [] }, 'cat', ['/proc/uptime'])).stdout.split(' ')[0],
  );
  expect(Number(stdout.split(' ')[0]) - ours).toBeGreaterThan(863_000);
});

test('a user namespace makes us its root, and nobody outside', async () => {
  await using other = await elsewhere('--user', '--net', '--mount');
  writeIdMapsDirectly(other.pid, { uids: IdMap.single(0, 100_000, 1000), gids: IdMap.single(0, 100_000, 1000) });
  const { stdout, stderr } = await enter({ target: other.pid, namespaces: 'all' }, 'sh', [
    '-c',
    'id -u; id -g; id -G; cat /proc/self/uid_map',
  ]);
  expect(stderr).toBe('');
  expect(stdout.replaceAll(/ +/g, ' ').split('\n').slice(0, 4)).toEqual(['0', '0', '0', ' 0 100000 1000']);
});

test('another user, another directory, an environment of its own', async () => {
  await using other = await elsewhere('--net');
  const options = { user: { uid: 1234, gid: 5678, groups: [9] }, cwd: '/usr', env: { PATH: '/bin', A: 'b c' } };
  const { stdout } = await enter(
    { target: other.pid, namespaces: ['net'] },
    'sh',
    ['-c', 'id -u; id -G; pwd; env'],
    options,
  );
  const lines = stdout.trim().split('\n');
  expect(lines.slice(0, 3)).toEqual(['1234', '5678 9', '/usr']);
  expect(
    lines
      .slice(3)
      .filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line))
      .sort(),
  ).toEqual(['A=b c', 'PATH=/bin']);
});

test('nothing of ours is in the program: descriptors, environment, dumpable until then', async () => {
  process.env.NS_TEST_SECRET = 'secret';
  try {
    const { stdout } = await enter({ target: process.pid, namespaces: 'all' }, 'sh', ['-c', 'ls /proc/self/fd; env']);
    expect(stdout).not.toContain('secret');
    expect(stdout.split('\n').slice(0, 4)).toEqual(['0', '1', '2', '3']); // 3 is the directory that ls reads
    expect(stdout).not.toMatch(/^[4-9]$/m);
  } finally {
    delete process.env.NS_TEST_SECRET;
  }
});

test('exit codes and signals are results', async () => {
  const here = { target: process.pid, namespaces: [] } as const;
  expect(await enter(here, 'sh', ['-c', 'echo oops >&2; exit 7'])).toMatchObject({
    exitCode: 7,
    reason: 'exit',
    stderr: 'oops\n',
  });
  expect(await enter(here, 'sh', ['-c', 'kill -TERM $$'])).toMatchObject({
    exitCode: null,
    signal: 'SIGTERM',
    reason: 'signal',
  });
  expect(await enter(here, 'sleep', ['60'], { timeout: 50 })).toMatchObject({ signal: 'SIGKILL', reason: 'timeout' });
  expect(await enter(here, 'sleep', ['60'], { signal: AbortSignal.timeout(50) })).toMatchObject({
    signal: 'SIGKILL',
    reason: 'abort',
  });
  expect(() => enter(here, 'true', [], { signal: AbortSignal.abort() })).toThrow();
});

test('output beyond the limit ends the program', async () => {
  const result = await enter({ target: process.pid, namespaces: [] }, 'yes', [], { maxOutputBytes: 10 });
  expect(result).toMatchObject({ reason: 'output-limit', truncated: true, stdout: 'y\ny\ny\ny\ny\n' });
});

test('streams, input and signals', async () => {
  const here = { target: process.pid, namespaces: [] } as const;
  expect((await enter(here, 'cat', [], { stdin: { content: 'hello' } })).stdout).toBe('hello');
  const cat = enter(here, 'cat', [], { stdin: 'pipe' });
  cat.stdin!.end('there');
  expect(await text(cat.stdout)).toBe('there');
  const sleep = enter(here, 'sleep', ['60']);
  expect(kernelName(await sleep.started, 'net')).toBe(kernelName('self', 'net'));
  expect(sleep.kill()).toBe(true);
  expect(await sleep).toMatchObject({ signal: 'SIGTERM' });
  expect(sleep.kill()).toBe(false);
});

test('a process left in the background does not keep the result waiting', async () => {
  const { stdout } = await enter({ target: process.pid, namespaces: [] }, 'sh', ['-c', 'sleep 600 & echo $!']);
  // It is there.
  expect(process.kill(Number(stdout), 'SIGKILL')).toBe(true);
});

test('a program that cannot be started rejects', async () => {
  const here = { target: process.pid, namespaces: [] } as const;
  await expect(enter(here, 'no-such-program')).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(enter(here, '/dev/null')).rejects.toBeInstanceOf(SyscallError);
  await expect(enter(here, 'true', [], { cwd: '/no/such/directory' })).rejects.toMatchObject({ code: 'ENOENT' });
  expect(() => enter({ target: 2 ** 22 + 1, namespaces: 'all' }, 'true')).toThrow();
});
