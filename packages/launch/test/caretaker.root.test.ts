import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, needs, notRoot, processEntries } from '@ns/testing';
import { endCaretaker, entrust } from '../src/caretaker.ts';
import { NodeScript } from './node-script.ts';

/* What belongs to a thread goes with it, whatever its end is. */

const rootTest = needs(notRoot);
const caretakers = (parent: number) =>
  processEntries().filter((one) => one.parent === parent && one.name.startsWith('ns-caretaker') && one.state !== 'Z');

/** A mounted tree in which anybody can be killed: that of v2, or the freezer's. */
const tree = readFileSync('/proc/mounts', 'utf8')
  .split('\n')
  .map((line) => line.split(' '))
  .find(
    ([, , type, options]) => type === 'cgroup2' || (type === 'cgroup' && options!.split(',').includes('freezer')),
  )?.[1];

let script: NodeScript;
beforeAll(() => {
  script = new NodeScript('entrusts');
});
afterAll(() => script[Symbol.dispose]());

for (const way of ['SIGKILL', 'exit', 'uncaught', 'worker', 'renewed'] as const)
  rootTest(`${way}: files, directories and a cgroup with what runs in it`, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'entrusted-'));
    const kept = join(directory, 'given-back');
    writeFileSync(kept, '');
    const cgroup = join(tree!, `ns-launch-test-${process.pid}`);
    mkdirSync(cgroup);
    const sleeper = spawn('sleep', ['600'], { stdio: 'ignore' });
    const ended = once(sleeper, 'exit');
    const owner = script.start([way, directory, cgroup]);
    try {
      await once(owner.stdout, 'data');
      writeFileSync(join(cgroup, 'inner', 'cgroup.procs'), String(sleeper.pid));
      expect(existsSync(join(directory, 'state'))).toBe(true);
      if (way === 'SIGKILL' || way === 'renewed') owner.kill('SIGKILL');
      else owner.stdin.write('end\n');
      expect(await ended).toEqual([null, 'SIGKILL']);
      expect(await eventually(() => !existsSync(cgroup), 10_000)).toBe(true);
      expect(await eventually(() => readdirSync(directory).length === 1)).toBe(true);
      expect(existsSync(kept)).toBe(true);
      expect(await eventually(() => caretakers(owner.pid!).length === 0)).toBe(true);
    } finally {
      owner.kill('SIGKILL');
      sleeper.kill('SIGKILL');
      for (const path of [join(cgroup, 'inner'), cgroup]) if (existsSync(path)) rmdirSync(path);
      rmSync(directory, { recursive: true });
    }
  });

rootTest('a symbolic link goes with its text only', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'entrusted-'));
  const owner = script.start(['links', directory, '/nowhere']);
  try {
    await once(owner.stdout, 'data');
    owner.kill('SIGKILL');
    expect(await eventually(() => caretakers(owner.pid!).length === 0 && !existsSync(join(directory, 'file')))).toBe(
      true,
    );
    const left = Object.fromEntries(readdirSync(directory).map((name) => [name, readlinkSync(join(directory, name))]));
    expect(left).toEqual({ longer: 'mine and more', shorter: 'min', other: 'mime' });
  } finally {
    owner.kill('SIGKILL');
    rmSync(directory, { recursive: true });
  }
});

rootTest('requests are made of the kernel in their order, whatever becomes of those before', async () => {
  using requests = new NodeScript('entrusts-network');
  const owner = requests.start([]);
  let namespace: number | undefined;
  try {
    await once(owner.stdout, 'data');
    namespace = openSync(`/proc/${owner.pid}/ns/net`, 'r');
    const at = `--net=/proc/${process.pid}/fd/${namespace}`;
    const links = () =>
      JSON.parse(execFileSync('nsenter', [at, 'ip', '-j', 'link'], { encoding: 'utf8' })).map(
        ({ ifname }: { ifname: string }) => ifname,
      );
    expect(links()).toEqual(['lo', 'gone', 'kept', 'free']);
    owner.kill('SIGKILL');
    await eventually(() => links().length < 4);
    expect(links()).toEqual(['lo', 'kept', 'free']);
  } finally {
    owner.kill('SIGKILL');
    if (namespace !== undefined) closeSync(namespace);
  }
});

rootTest('killed, it is replaced by one that knows all', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'entrusted-'));
  using _ = entrust({ files: [join(directory, 'one')] });
  const [first] = caretakers(process.pid);
  process.kill(first!.pid, 'SIGKILL');
  expect(await eventually(() => caretakers(process.pid).length === 0)).toBe(true);
  using __ = entrust({ files: [join(directory, 'two')] });
  expect(caretakers(process.pid)).toHaveLength(1);
  rmSync(directory, { recursive: true });
});

rootTest('stopped, it holds nobody up for long, and what it cannot be told goes to another', () => {
  const held = Array.from({ length: 3 }, (_, i) => entrust({ files: [`/nowhere/${i}`] }));
  const [first] = caretakers(process.pid);
  process.kill(first!.pid, 'SIGSTOP');
  const before = performance.now();
  const more = Array.from({ length: 400 }, (_, i) => entrust({ files: [`/nowhere/${'x'.repeat(3000)}${i}`] }));
  expect(performance.now() - before).toBeLessThan(2000);
  process.kill(first!.pid, 'SIGCONT');
  for (const one of [...held, ...more]) one[Symbol.dispose]();
});

rootTest('more than it has room for is no error', () => {
  const held = Array.from({ length: 600 }, (_, i) => entrust({ files: [`/nowhere/${i}`] }));
  for (const one of held) one[Symbol.dispose]();
  using _ = entrust({ files: ['/nowhere'] });
});

rootTest('it ends when nothing is entrusted any more', async () => {
  const held = entrust({ files: ['/nowhere'] });
  expect(caretakers(process.pid)).toHaveLength(1);
  held[Symbol.dispose]();
  expect(await eventually(() => caretakers(process.pid).length === 0, 5000)).toBe(true);
});

afterAll(endCaretaker);
