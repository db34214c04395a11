import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { needs, notRoot } from '@ns/testing';
import { Container, prune } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* What a crash, a full disk or somebody's hand has left in the place of a state file is no container, and nothing is done to what
   it names. */

const test = needs(notRoot);
const root = useOwnStateRoot();

let container: Container;
let whole: string;
beforeEach(async () => {
  if (notRoot) return;
  container = await Container.create({
    command: ['sh', '-c', 'echo said; exec sleep 600'],
    name: 'spoilt',
    lifetime: { dieWithParent: false },
    limits: { pids: 64 },
  });
  await container.start();
  whole = readFileSync(file(), 'utf8');
});
afterEach(async () => {
  if (notRoot) return;
  rmSync(file(), { recursive: true, force: true });
  mkdirSync(dirname(file()), { recursive: true });
  writeFileSync(file(), whole);
  await container.remove({ force: true });
});

const file = () => join(root.path, 'containers', container.id, 'state.json');
const changed = (changes: object) => () => writeFileSync(file(), JSON.stringify({ ...JSON.parse(whole), ...changes }));

const spoilings: readonly (readonly [string, () => void])[] = [
  ['empty', () => writeFileSync(file(), '')],
  ['half of itself', () => writeFileSync(file(), whole.slice(0, whole.length / 2))],
  ...['null', '[]', '7', '{}', '{"version":2}', '{"version":1}', '{"version":"2"}'].map(
    (json) => [json, () => writeFileSync(file(), json)] as const,
  ),
  ["another's", changed({ id: 'f'.repeat(64) })],
  ['of an id that is a path', changed({ id: '../../..' })],
  ['of processes without numbers', changed({ owner: {}, monitor: {}, init: {} })],
  ['of a process that is every process', changed({ monitor: { pid: -1, startTime: 0 } })],
  ['without a time', changed({ createdAt: 'yesterday' })],
  ['without a command', changed({ spec: {} })],
  ['of other labels', changed({ labels: null })],
  ['a directory', () => replace(() => mkdirSync(file()))],
  ['a FIFO', () => replace(() => execFileSync('mkfifo', [file()]))],
  [
    'a link',
    () => {
      renameSync(file(), join(root.path, 'elsewhere'));
      symlinkSync(join(root.path, 'elsewhere'), file());
    },
  ],
];

function replace(put: () => void): void {
  rmSync(file());
  put();
}

for (const [what, spoil] of spoilings) {
  test(`${what}: it is not found, and goes when it is old`, async () => {
    spoil();
    expect(await Container.list()).toEqual([]);
    for (const id of [container.id, 'spoilt']) {
      await expect(Container.get(id)).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_FOUND' });
    }
    expect((await prune()).containers).toEqual([]);
    utimesSync(dirname(file()), 1, 1);
    expect((await prune()).containers).toEqual([container.id]);
    expect(existsSync(dirname(file()))).toBe(false);
    // Its processes are its monitor's, as long as that lives.
    expect(existsSync(`/proc/${JSON.parse(whole).init.pid}`)).toBe(true);
  });
}

for (const [what, put] of [
  ['a directory', (path: string) => mkdirSync(path)],
  ['a FIFO', (path: string) => execFileSync('mkfifo', [path])],
  ['a link', (path: string) => symlinkSync('/etc/passwd', path)],
] as const) {
  test(`${what} in the place of a log says nothing`, async () => {
    for (const name of ['stdout.log', 'stderr.log']) {
      const log = join(dirname(file()), name);
      rmSync(log);
      put(log);
    }
    const found = await Container.get(container.id);
    for await (const _ of found.logs()) throw new Error('it says something');
    await found.kill();
    expect(await found.wait()).toMatchObject({ signal: 'SIGKILL', stdout: '', stderr: '' });
  });
}

test('a directory in the place of a name is no name', async () => {
  mkdirSync(join(root.path, 'names', 'directory'));
  expect((await prune()).names).toEqual(['directory']);
});

test('of another first process, which is not there: it has ended, as far as anybody can know', async () => {
  changed({ init: { pid: 2 ** 22 - 1, startTime: 1 } })();
  expect((await Container.get('spoilt')).status).toBe('stopped');
});
