import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cgroup } from '@ns/cgroups';
import { Container, prune } from '@ns/core';
import { identifyProcess } from '@ns/libc';
import { needs, notRoot, processEntries } from '@ns/testing';
import { NodeProgram } from './node-program.ts';

const test = needs(notRoot);
const previous = process.env.NS_STATE_ROOT;
let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ns-prune-'));
  process.env.NS_STATE_ROOT = root;
});

afterAll(() => {
  if (previous === undefined) delete process.env.NS_STATE_ROOT;
  else process.env.NS_STATE_ROOT = previous;
  rmSync(root, { recursive: true, force: true });
});

/** A container's state as a crash leaves it, with these processes in it. */
function leaveState(id: string, identity: { pid: number; startTime: number }, besides: object = {}): string {
  const directory = join(root, 'containers', id);
  mkdirSync(directory, { recursive: true });
  const processes = { owner: identity, init: identity, status: 'running', detachable: false };
  const what = { labels: {}, command: ['true'], createdAt: new Date().toISOString(), spec: { command: ['true'] } };
  const state = { version: 1, id, ...processes, ...what, ...besides };
  writeFileSync(join(directory, 'state.json'), JSON.stringify(state));
  return directory;
}

test('state of dead containers goes, that of living ones stays', async () => {
  await using living = await Container.create({ command: ['sleep', 'infinity'] });
  await living.start();
  // Our own pid at another time: it was given to us since.
  const reused = leaveState('a'.repeat(64), { pid: process.pid, startTime: 1 });
  const { containers } = await prune();
  expect(containers).toEqual(['a'.repeat(64)]);
  expect(existsSync(reused)).toBe(false);
  expect(living.status).toBe('running');
  expect((await living.exec('true')).exitCode).toBe(0);
  expect(await Container.list()).toMatchObject([{ id: living.id }]);
});

test('who finds one dead and forgets it ends the program that connected it', async () => {
  const program = spawn('sleep', ['600'], { stdio: 'ignore' });
  const ended = once(program, 'exit');
  const userNetwork = identifyProcess(program.pid!);
  const left = leaveState('b'.repeat(64), { pid: process.pid, startTime: 1 }, { userNetwork });
  expect(await Container.list()).toEqual([]);
  expect(existsSync(left)).toBe(false);
  expect(await ended).toEqual([null, 'SIGKILL']);
});

test('half-written state goes when it is old, and state of another version stays', async () => {
  const paths = ['1', '2', '3'].map((digit) => join(root, 'containers', digit.repeat(64)));
  const [fresh, old, other] = paths as [string, string, string];
  for (const path of paths) mkdirSync(path, { recursive: true });
  writeFileSync(join(old, 'state.json'), '{"version": 1, "id": "22');
  writeFileSync(join(other, 'state.json'), '{"version": 99}');
  for (const path of [old, other]) utimesSync(path, 1, 1);
  expect((await prune()).containers).toEqual(['2'.repeat(64)]);
  expect([fresh, old, other].map((path) => existsSync(path))).toEqual([true, false, true]);
});

test("a directory without a state is its maker's, however old, and goes at once when he and his caretaker were killed", async () => {
  using program = new NodeProgram('held-up-maker');
  const before = new Set(readdirSync(join(root, 'containers')));
  const maker = program.start();
  await once(maker.stdout, 'data');
  const [caretaker] = processEntries().filter(({ parent }) => parent === maker.pid);
  const [id] = readdirSync(join(root, 'containers')).filter((name) => !before.has(name)) as [string];
  utimesSync(join(root, 'containers', id), 1, 1);
  expect((await prune()).containers).toEqual([]);
  process.kill(caretaker!.pid, 'SIGKILL');
  maker.kill('SIGKILL');
  await once(maker, 'exit');
  expect((await prune()).containers).toEqual([id]);
});

test('a removal that was interrupted is finished, and nobody sees the container meanwhile', async () => {
  const directory = leaveState(`.removed-${'b'.repeat(64)}-1`, { pid: process.pid, startTime: 1 });
  expect(await Container.list()).toEqual([]);
  expect((await prune()).containers).toEqual([]);
  utimesSync(directory, 1, 1);
  await prune();
  expect(existsSync(directory)).toBe(false);
});

test('cgroups and ids of a dead owner are freed, with what still runs there', async () => {
  const owner = spawn('sleep', ['infinity']);
  const survivor = spawn('sleep', ['infinity']);
  await Promise.all([once(owner, 'spawn'), once(survivor, 'spawn')]);
  const name = `ns-prune-test-${process.pid}`;
  const cgroup = await Cgroup.create(name, {}, { owner: owner.pid! });
  await cgroup.add(survivor.pid!);
  const { allocateIds } = await import('@ns/namespaces');
  await allocateIds({ stateDir: join(root, 'ids'), id: 'orphan', ownerPid: owner.pid! });
  await using kept = await allocateIds({ stateDir: join(root, 'ids'), id: 'kept' });

  const early = await prune();
  expect(early.cgroups).not.toContain(name);
  expect(early.idLeases).toEqual([]);
  expect(readFileSync(`${cgroup.paths[0]}/cgroup.procs`, 'utf8').trim()).toBe(String(survivor.pid));

  owner.kill('SIGKILL');
  const ended = once(survivor, 'exit');
  await once(owner, 'exit');
  const late = await prune();
  expect(late.cgroups).toContain(name);
  expect(late.idLeases).toEqual(['orphan']);
  expect(late.failed).toEqual([]);
  await ended;
  expect(survivor.signalCode).toBe('SIGKILL');
  expect(cgroup.paths.some((path) => existsSync(path))).toBe(false);
  expect(kept.uids.size).toBe(65536);
  cgroup.close();
});
