import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { attachMount, cloneMount, unmountAll } from '@ns/mounts';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container, type ContainerSpec, run } from '../src/index.ts';
import { NodeProgram } from './node-program.ts';
import { useOwnDirectory } from './own-directory.ts';

/* Where one container writes, no other does. */

const test = needs(notRoot);
const dir = useOwnDirectory('writes');
const command = ['true'];
type Places = Omit<ContainerSpec, 'command'>;

/** Directories for a test, of which the one called `link` leads to `here`. */
function directories(name: string) {
  const place = join(dir, name);
  for (const one of ['here', 'work', 'other', 'kept/data/upper', 'bound'])
    mkdirSync(join(place, one), { recursive: true });
  symlinkSync('here', join(place, 'link'));
  return { place, upper: join(place, 'here'), work: join(place, 'work'), other: join(place, 'other') };
}

const inUse = (holder: string) => ({ code: 'ERR_NS_IN_USE', message: expect.stringContaining(holder) });

async function expectRefused(first: Places, second: Places): Promise<void> {
  await using holder = await Container.create({ command, name: 'holder', ...first });
  await expect(Container.create({ command, ...second })).rejects.toMatchObject(
    inUse(`holder (${holder.id.slice(0, 12)})`),
  );
  await holder.remove();
  await using next = await Container.create({ command, ...second });
  expect(next.status).toBe('created');
}

const rootfs = { layers: ['/usr'] };

test('two containers cannot keep their writes in one directory, whatever they call it', async () => {
  const { place, upper, work, other } = directories('aliases');
  const writable = { upper, work };
  await expectRefused({ rootfs, writable }, { rootfs, writable });
  await expectRefused({ rootfs, writable }, { rootfs, writable: { upper: join(place, 'link/'), work: other } });
  await expectRefused({ rootfs, writable }, { rootfs, writable: { upper: other, work } });
  await expectRefused({ rootfs: { ...rootfs, writable } }, { rootfs, writable });
  const kept = { dir: join(place, 'kept') };
  await expectRefused({ rootfs, writable: kept }, { rootfs, writable: { ...kept, dir: `${place}/./kept/` } });
  const inside = { upper: join(place, 'kept/data/upper'), work: other };
  await expectRefused({ rootfs, writable: inside }, { rootfs, writable: kept });
  await expectRefused(
    { rootfs, writable: { dir: join(place, 'not/there/yet') } },
    { rootfs, writable: { dir: join(place, 'not/there/yet') } },
  );
});

test('nor by way of another mount', async () => {
  const { place, upper, work, other } = directories('mounts');
  using mount = cloneMount(upper);
  attachMount(mount, join(place, 'bound'));
  try {
    await using _ = await Container.create({ command, name: 'holder', rootfs, writable: { upper, work } });
    const alias = { upper: join(place, 'bound'), work: other };
    await expect(Container.create({ command, rootfs, writable: alias })).rejects.toMatchObject(inUse('holder ('));
  } finally {
    unmountAll(join(place, 'bound'));
  }
});

test('two logs are not the same files, but may be beside each other', async () => {
  const { place, upper: directory } = directories('logs');
  await expectRefused({ log: { directory } }, { log: { directory: `${place}/link` } });
  await using one = await Container.create({ command, log: { directory, format: 'raw' } });
  await using two = await Container.create({ command, log: { directory } });
  expect([one.status, two.status]).toEqual(['created', 'created']);
});

test('one that has ended leaves its place to others, and takes it again when it is started', async () => {
  const { upper, work } = directories('stopped');
  const spec = { command, rootfs: '/', writable: { upper, work } };
  await using first = await Container.create(spec);
  await first.start();
  await first.wait();
  await using next = await Container.create(spec);
  await expect(first.start()).rejects.toMatchObject(inUse(next.id.slice(0, 12)));
  expect(first.status).toBe('stopped');
  await next.start();
  await next.wait();
  await first.start();
  expect((await first.wait()).exitCode).toBe(0);
});

test('one command has its places, too', async () => {
  const { place, upper, work } = directories('run');
  for (const writable of [{ upper, work }, { dir: join(place, 'kept') }]) {
    const first = run('sleep', ['600'], { writable });
    await first.started;
    await expect(run('true', { writable })).rejects.toMatchObject(inUse('the container'));
    await expect(Container.create({ command, writable })).rejects.toMatchObject(inUse('the container'));
    first.kill();
    await first;
    expect((await run('true', { writable })).exitCode).toBe(0);
    await using holder = await Container.create({ command, writable });
    await expect(run('true', { writable })).rejects.toMatchObject(inUse(holder.id.slice(0, 12)));
  }
  expect(readdirSync(join(dir, 'state/containers'))).toEqual([]);
});

test('a refused one leaves nothing', async () => {
  const { upper, work } = directories('refused');
  const spec = { command, rootfs, writable: { upper, work } };
  await using holder = await Container.create(spec);
  await expect(Container.create({ ...spec, name: 'refused' })).rejects.toMatchObject({ code: 'ERR_NS_IN_USE' });
  await expect(run('true', { rootfs, writable: spec.writable })).rejects.toMatchObject({ code: 'ERR_NS_IN_USE' });
  expect(readdirSync(join(dir, 'state/containers'))).toEqual([holder.id]);
  expect(readdirSync(join(dir, 'state/names'))).toEqual([]);
});

describe('of another process', () => {
  let program: NodeProgram;
  beforeAll(() => {
    program = new NodeProgram('writer');
  });
  afterAll(() => program[Symbol.dispose]());

  const isFree = (spec: ContainerSpec) => async () => {
    try {
      await using _ = await Container.create(spec);
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: 'ERR_NS_IN_USE' });
      return false;
    }
  };

  test('a place is free when that was killed', async () => {
    const { place, upper, work } = directories('killed');
    const spec = { writable: { upper, work }, log: { directory: join(place, 'log') }, rootfs: '/' };
    const { child, killed } = await program.begin([JSON.stringify({ ...spec, name: 'killed' })]);
    await expect(Container.create({ ...spec, command })).rejects.toMatchObject(inUse('killed ('));
    child.kill('SIGKILL');
    await killed;
    expect(await eventually(isFree({ ...spec, command }))).toBe(true);
  });

  test('a place is that of a container which has outlived it, for as long as it runs', async () => {
    const { place, upper, work } = directories('outlives');
    const lifetime = { dieWithParent: false } as const;
    const spec = { writable: { upper, work }, log: { directory: join(place, 'log') }, rootfs: '/', lifetime };
    const { exitCode, stdout: id } = await program.run([JSON.stringify(spec)]);
    expect(exitCode).toBe(0);
    const { log, writable } = spec;
    await expect(Container.create({ command, log: { ...log, format: 'raw' } })).rejects.toMatchObject(
      inUse(id.slice(0, 12)),
    );
    await expect(Container.create({ command, writable })).rejects.toMatchObject(inUse(id.slice(0, 12)));
    await using left = await Container.get(id);
    await left.kill();
    // Nobody can start it again.
    expect(await isFree({ ...spec, command })()).toBe(true);
    await left.remove();
  });
});

test('what is in the place of a claim that is none of ours is none', async () => {
  const { upper, work } = directories('spoilt');
  const spec = { command, rootfs, writable: { upper, work } };
  const spoilt = join(dir, 'state/containers', '0'.repeat(64));
  for (const text of ['', '{}', '[', '{"owner":{"pid":1,"startTime":0},"paths":3}']) {
    mkdirSync(spoilt, { recursive: true });
    writeFileSync(join(spoilt, 'writes.json'), text);
    await using container = await Container.create(spec);
    expect(container.status).toBe('created');
    rmSync(spoilt, { recursive: true });
  }
});
