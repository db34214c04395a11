import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Container, prune, run } from '@ns/core';
import { eventually, needs, notRoot } from '@ns/testing';
import { cgroupDirectories } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

const test = needs(notRoot);
const previous = process.env.NS_STATE_ROOT;
let root: string;
let maker: NodeProgram;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ns-detach-'));
  process.env.NS_STATE_ROOT = root;
  maker = new NodeProgram('make-detached');
});

afterAll(() => {
  maker[Symbol.dispose]();
  if (previous === undefined) delete process.env.NS_STATE_ROOT;
  else process.env.NS_STATE_ROOT = previous;
  expect(readdirSync(join(root, 'containers'))).toEqual([]);
  rmSync(root, { recursive: true, force: true });
});

afterEach(async () => {
  for (const { id } of await Container.list()) await (await Container.get(id)).remove({ force: true });
});

/** A container that a Node process made which has ended since. */
async function makeDetached(script: string, name?: string): Promise<string> {
  const { stdout, stderr, exitCode } = await maker.run(name === undefined ? [script] : [script, name]);
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  return stdout;
}

async function lines(entries: AsyncIterable<{ data: Buffer }>): Promise<string> {
  let text = '';
  for await (const { data } of entries) text += data.toString();
  return text;
}

test('of one whose maker is killed before its start nothing stays', async () => {
  using killed = new NodeProgram('killed-maker');
  expect(await killed.run()).toMatchObject({ signal: 'SIGKILL', stderr: '' });
  expect(await eventually(async () => (await Container.list()).length === 0)).toBe(true);
  const containers = join(root, 'containers');
  expect(existsSync(containers) ? readdirSync(containers) : []).toEqual([]);
});

test('one whose maker is killed before he could write down that he has started it is a running one', async () => {
  const id = await makeDetached('exec sleep 600');
  const file = join(root, 'containers', id, 'state.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), status: 'created' }));
  expect(await Container.list()).toMatchObject([{ id, status: 'running' }]);
  const c = await Container.get(id);
  expect(c.status).toBe('running');
  await c.exec('true', { check: true });
  await c.stop({ timeout: 0 });
  expect((await Container.get(id)).status).toBe('stopped');
});

for (const [script, ending] of [
  ['exit 125', { exitCode: 125, signal: null }],
  ['kill -KILL $$', { exitCode: null, signal: 'SIGKILL' }],
] as const)
  test(`one that has ended by then, too, is known with its end: ${script}`, async () => {
    const id = await makeDetached(`sleep 0.3; ${script}`);
    const file = join(root, 'containers', id, 'state.json');
    const { init } = JSON.parse(readFileSync(file, 'utf8'));
    if (init) expect(await eventually(() => !existsSync(`/proc/${init.pid}`))).toBe(true);
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), status: 'created' }));
    expect(await Container.list()).toMatchObject([{ id, status: 'stopped' }]);
    expect((await prune()).containers).toEqual([]);
    expect(await (await Container.get(id)).wait()).toMatchObject(ending);
  });

for (const script of ['sleep 0.3', 'sleep 0.3; kill -KILL $$'])
  test(`how long it ran is known to who comes later: ${script}`, async () => {
    const id = await makeDetached(script);
    await delay(1_000);
    const { durationMs } = await (await Container.get(id)).wait();
    expect(durationMs).toBeGreaterThan(290);
    expect(durationMs).toBeLessThan(900);
  });

test('another process finds it, reads its output, runs a command in it, stops and removes it', async () => {
  const id = await makeDetached(
    'echo hello; echo err >&2; trap "echo bye; exit 7" TERM; while :; do sleep 0.01; done',
    'web',
  );
  expect(await Container.list({ name: 'web' })).toMatchObject([{ id, status: 'running' }]);
  const c = await Container.get('web');
  expect(c).toMatchObject({ id, name: 'web', status: 'running' });
  expect(c.pid).toBeGreaterThan(0);
  // The program has started; when it writes is its business.
  expect(await eventually(async () => (await lines(c.logs())).split('\n').length > 2)).toBe(true);
  expect((await lines(c.logs())).split('\n').sort()).toEqual(['', 'err', 'hello']);
  expect((await c.exec('hostname')).stdout).toBe(`${id.slice(0, 12)}\n`);
  expect((await c.stats()).memory?.currentBytes).toBeGreaterThan(0);
  expect((await c.processes()).map(({ name }) => name)).toContain('sh');
  await c.pause();
  expect((await Container.get(id)).status).toBe('paused');
  await c.resume();
  await c.stop();
  expect(await c.wait()).toMatchObject({
    exitCode: 7,
    signal: null,
    reason: 'exit',
    stdout: 'hello\nbye\n',
    stderr: 'err\n',
  });
  expect(c.status).toBe('stopped');
  await c.remove();
  expect(await Container.list()).toEqual([]);
  await expect(Container.get('web')).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_FOUND' });
});

for (const [script, expected] of [
  ['exit 3', { exitCode: 3, signal: null, reason: 'exit' }],
  ['kill -USR1 $$', { exitCode: null, signal: 'SIGUSR1', reason: 'signal' }],
  ['exec tail /dev/zero', { exitCode: null, signal: 'SIGKILL', reason: 'oom' }],
] as const) {
  test(`how it ended is known to who comes later: ${script}`, async () => {
    const id = await makeDetached(`echo out; sleep 0.2; ${script}`);
    expect(await eventually(() => Boolean(readdirSync(join(root, 'containers', id)).includes('journal')))).toBe(true);
    const hasStopped = async () => (await Container.list()).some((one) => one.id === id && one.status === 'stopped');
    expect(await eventually(hasStopped)).toBe(true);
    // Nobody looked after it when it ended. Nobody forgets it either.
    expect((await prune()).containers).toEqual([]);
    expect(await Container.list()).toMatchObject([{ id, status: 'stopped' }]);
    const c = await Container.get(id);
    const result = await c.wait();
    if (expected.reason === 'oom') {
      // Its cgroup was pruned above, and what it counted with it.
      expect(result).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
    } else expect(result).toMatchObject({ ...expected, stdout: 'out\n' });
    expect(result.usage.cpuUserMs).toEqual(expect.any(Number));
    await c.remove();
  });
}

test('who runs commands in it and is killed leaves no cgroup in it', async () => {
  const id = await makeDetached('exec sleep 600');
  const c = await Container.get(id);
  using program = new NodeProgram(
    'endless-exec',
    `import { Container } from '@ns/core';
     const c = await Container.get(process.argv[2]!);
     for (;;) { await c.exec('true'); process.stdout.write('.'); }`,
  );
  const cgroups = cgroupDirectories(c.pid!).map((path) => path.replace(/(ns-[0-9a-f]{64}).*/, '$1'));
  const leaves = () => cgroups.flatMap((path) => readdirSync(path).filter((name) => name.startsWith('exec-')));
  expect(cgroups).not.toEqual([]);
  for (let round = 0; round < 10; round++) {
    const caller = program.start([id]);
    await once(caller.stdout, 'data');
    await delay(20 * Math.random());
    caller.kill('SIGKILL');
    await once(caller, 'exit');
    await eventually(() => leaves().length === 0);
    expect(leaves()).toEqual([]);
  }
  await c.remove({ force: true });
}, 120_000);

test('out of memory is told apart while its cgroup is there', async () => {
  const id = await makeDetached('sleep 0.1; exec tail /dev/zero');
  const c = await Container.get(id);
  expect(await c.wait()).toMatchObject({ signal: 'SIGKILL', reason: 'oom' });
  // The verdict is kept for the next who asks.
  expect(await (await Container.get(id)).wait()).toMatchObject({ reason: 'oom' });
  await c.remove();
});

test('waiting and following from two sides; a flood is read without loss', async () => {
  const id = await makeDetached('sleep 0.2; seq 1 200000; echo done >&2');
  const [one, two] = [await Container.get(id), await Container.get(id)];
  const followed = lines(one.logs({ follow: true }));
  const results = await Promise.all([one.wait(), two.wait()]);
  for (const { exitCode, stdout } of results) {
    expect(exitCode).toBe(0);
    expect(stdout.length).toBe(1_288_895);
    expect(stdout.endsWith('199999\n200000\n')).toBe(true);
  }
  expect((await followed).length).toBe(1_288_895 + 'done\n'.length);
  await Promise.all([one.remove(), two.remove()]);
});

test('its networks and ports, also those that were chosen, are told to who finds it; nothing is opened for that', async () => {
  const { stdout: id, stderr } = await maker.run(['exec sleep 600', 'published', '127.0.0.1:0:8080']);
  expect(stderr).toBe('');
  const c = await Container.get(id);
  const [port, ...others] = c.ports;
  expect(others).toEqual([]);
  expect(port).toMatchObject({ protocol: 'tcp', hostAddress: '127.0.0.1', port: 8080 });
  const [place] = Object.values(c.networks);
  const { stdout } = await c.exec('sed', ['-n', 's/^ *\\(eth[0-9]*\\):.*/\\1/p', '/proc/net/dev']);
  expect(place).toMatchObject({ owner: id, address: port!.address, link: stdout.trim() });
  // As the kernel has it: the port is translated to that address.
  expect((await run('sh', ['-c', 'cat /proc/net/fib_trie'], { network: { container: id } })).stdout).toContain(
    place!.address!,
  );
  await c.kill();
  expect([c.ports, c.networks]).toEqual([[], {}]);
  await c.remove();
});

test('where its maker is gone, nobody is advised to ask him or to start it', async () => {
  const id = await makeDetached('exec sleep 600');
  const c = await Container.get(id);
  const gone = { hint: expect.stringMatching(/maker|process that made it is gone/) };
  for (const impossible of [() => c.diff(), () => c.restart(), () => c.discard()])
    await expect(impossible()).rejects.toMatchObject(gone);
  await c.kill();
  for (const impossible of [() => c.exec('true'), () => c.start(), () => c.stats(), () => c.copyOut('/a', '/b')]) {
    const error = await Promise.resolve(impossible()).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject(gone);
    expect(String(error)).not.toMatch(/start\(\)|Ask the process/);
  }
  await c.remove();
});

test('kill from elsewhere; disposing of what was found leaves it alone; prune spares it', async () => {
  const id = await makeDetached('sleep infinity');
  {
    await using found = await Container.get(id.slice(0, 12));
    expect(found.status).toBe('running');
  }
  // Of others there may be some: tests run side by side.
  expect((await prune()).cgroups.filter((name) => name.includes(id))).toEqual([]);
  const c = await Container.get(id);
  expect(c.status).toBe('running');
  await expect(c.start()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_RUNNING' });
  await c.kill();
  expect(await c.wait()).toMatchObject({ signal: 'SIGKILL' });
  await expect(c.start()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_OURS' });
  await c.remove();
});

test('a monitor that is killed takes the container along', async () => {
  const id = await makeDetached('sleep infinity');
  const { monitor } = JSON.parse(readFileSync(join(root, 'containers', id, 'state.json'), 'utf8'));
  const c = await Container.get(id);
  process.kill(monitor.pid, 'SIGKILL');
  expect(await c.wait()).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  await c.remove();
});

test('reused pids are not mistaken for a container', async () => {
  const id = await makeDetached('sleep infinity');
  const file = join(root, 'containers', id, 'state.json');
  const state = JSON.parse(readFileSync(file, 'utf8'));
  process.kill(state.init.pid, 'SIGKILL');
  expect(await eventually(() => !existsSync(`/proc/${state.init.pid}`))).toBe(true);
  const other = { pid: process.pid, startTime: state.init.startTime };
  writeFileSync(file, JSON.stringify({ ...state, status: 'running', init: other, monitor: other }));
  const c = await Container.get(id);
  expect(c.status).toBe('stopped');
  await expect(c.kill()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_RUNNING' });
  await c.remove();
});

test('its maker can go on with it', async () => {
  const c = await Container.create({
    command: ['sh', '-c', 'echo $$; until [ -e /go ]; do sleep 0.01; done; exit 5'],
    lifetime: { dieWithParent: false },
  });
  expect(() => c.detach()).toThrow(expect.objectContaining({ code: 'ERR_NS_CONTAINER_NOT_DETACHABLE' }));
  await c.start();
  c.detach();
  await c[Symbol.asyncDispose]();
  expect(c.status).toBe('running');
  await c.exec('touch', ['/go']);
  expect(await c.wait()).toMatchObject({ exitCode: 5, stdout: expect.stringMatching(/^\d+\n$/) });
  await c.remove();
  await using bound = await Container.create({ command: ['sleep', 'infinity'] });
  await bound.start();
  expect(() => bound.detach()).toThrow(expect.objectContaining({ code: 'ERR_NS_CONTAINER_NOT_DETACHABLE' }));
});

test('what needs its maker cannot be had by who may outlive it', async () => {
  const lifetime = { dieWithParent: false };
  for (const spec of [
    { stdin: 'pipe' },
    { tty: true },
    { onSyscall: { mount: () => ({ errno: 'EPERM' }) } },
  ] as const) {
    await expect(Container.create({ command: ['true'], lifetime, ...spec } as never)).rejects.toMatchObject({
      code: 'ERR_NS_INVALID_SPEC',
      field: Object.keys(spec)[0],
    });
  }
  expect((await run('true')).exitCode).toBe(0);
});

test('an ordinary user has all of it, too', async () => {
  using life = new NodeProgram('detached-life');
  const home = mkdtempSync(join(tmpdir(), 'ns-detach-user-'));
  try {
    chownSync(home, 65534, 65534);
    const options = { uid: 65534, gid: 65534, env: { NS_STATE_ROOT: home } };
    const { stdout, stderr } = await life.run([], options);
    expect({ stderr, ...JSON.parse(stdout || '{}') }).toEqual({
      stderr: '',
      stdout: '0\n',
      exitCode: 6,
      output: 'up\n',
      left: [],
    });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});

test('one that was detached keeps nobody when its maker has started it again', async () => {
  using program = new NodeProgram(
    'restarts-detached',
    `import { Container } from '@ns/core';
    const c = await Container.create({
      command: ['sleep', '600'],
      limits: { pids: 64 },
      lifetime: { dieWithParent: false },
      restart: 'always',
      health: { command: 'true', interval: 20 },
    });
    await c.start();
    c.detach();
    if (process.argv[2] === 'restart') await c.restart({ timeout: 10 });
    else {
      await c.stop({ timeout: 10 });
      await c.start();
    }
    process.stdout.write(c.id);`,
  );
  for (const how of ['restart', 'stop and start']) {
    const { stdout: id, exitCode, stderr } = await program.run([how]);
    expect([exitCode, stderr]).toEqual([0, '']);
    await using found = await Container.get(id);
    expect(found.status).toBe('running');
    await found.remove({ force: true });
  }
});
