import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
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
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, needs, notRoot, type ProcessEntry, processEntries } from '@ns/testing';
import { entrust, patience } from '../src/caretaker.ts';
import { NodeScript } from './node-script.ts';

/* What belongs to a thread goes with it, whatever its end is. */

const rootTest = needs(notRoot);
const caretakers = (parent: number) =>
  processEntries().filter((one) => one.parent === parent && one.name.startsWith('ns-caretaker') && one.state !== 'Z');

/** Of one that ends meanwhile there is nothing to say. */
function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
}

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

/** A directory and a cgroup, of which an owner that dies takes along all but the file that it has given back. */
async function withOwner(
  way: string,
  use: (owner: ReturnType<typeof script.start>, there: { directory: string; cgroup: string }) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'entrusted-'));
  const cgroup = join(tree!, `ns-launch-test-${process.pid}`);
  mkdirSync(cgroup);
  const owner = script.start([way, directory, cgroup]);
  try {
    await hear(owner, 'made');
    await use(owner, { directory, cgroup });
  } finally {
    owner.kill('SIGKILL');
    await eventually(() => caretakers(owner.pid!).length === 0);
    for (const name of ['inner', 'stuck', 'free', '.'])
      if (existsSync(join(cgroup, name))) rmdirSync(resolve(cgroup, name));
    rmSync(directory, { recursive: true });
  }
}

/** Waits until it has said a line; what it says before. */
async function hear({ stdout }: ReturnType<typeof script.start>, word: string): Promise<string[]> {
  const said: string[] = [];
  while (!said.includes(word)) {
    const [chunk] = (await Promise.race([once(stdout, 'data'), once(stdout, 'end')])) as [Buffer?];
    if (!chunk) throw new Error(`it has ended, and said ${said}`);
    said.push(...String(chunk).trim().split('\n'));
  }
  return said;
}

function tell(owner: ReturnType<typeof script.start>, command: string): Promise<string[]> {
  owner.stdin.write(`${command}\n`);
  return hear(owner, command);
}

/** Kills it; everything it has entrusted goes, also if it was told of in several ways. */
async function expectAllGone(
  owner: ReturnType<typeof script.start>,
  { directory, cgroup }: { directory: string; cgroup: string },
): Promise<void> {
  const [caretaker, ...others] = caretakers(owner.pid!);
  expect(others).toEqual([]);
  owner.kill('SIGKILL');
  expect(await eventually(() => !isThere(caretaker!))).toBe(true);
  expect([existsSync(cgroup), existsSync(directory) && readdirSync(directory)]).toEqual([false, false]);
  // For the next one.
  mkdirSync(directory);
}

const isThere = ({ pid, name }: ProcessEntry) =>
  processEntries().some((one) => one.pid === pid && one.name === name && one.state !== 'Z');

for (const way of ['SIGKILL', 'exit', 'uncaught', 'worker', 'worker of another user'] as const)
  rootTest(`${way}: files, directories and a cgroup with what runs in it`, () =>
    withOwner(way, async (owner, { directory, cgroup }) => {
      const kept = join(directory, 'given-back');
      writeFileSync(kept, '');
      const sleeper = spawn('sleep', ['600'], { stdio: 'ignore' });
      const ended = once(sleeper, 'exit');
      try {
        writeFileSync(join(cgroup, 'inner', 'cgroup.procs'), String(sleeper.pid));
        expect(readdirSync(directory).sort()).toEqual(['file', 'given-back', 'state']);
        const [caretaker] = caretakers(owner.pid!);
        if (way === 'SIGKILL') owner.kill('SIGKILL');
        else owner.stdin.write('end\n');
        expect(await ended).toEqual([null, 'SIGKILL']);
        expect(await eventually(() => !isThere(caretaker!))).toBe(true);
        expect([existsSync(cgroup), readdirSync(directory)]).toEqual([false, ['given-back']]);
      } finally {
        sleeper.kill('SIGKILL');
      }
    }),
  );

rootTest('killed, it is replaced by one that knows all', () =>
  withOwner('commands', async (owner, there) => {
    const [first] = caretakers(owner.pid!);
    process.kill(first!.pid, 'SIGKILL');
    expect(await eventually(() => caretakers(owner.pid!).length === 0)).toBe(true);
    await tell(owner, 'more');
    await expectAllGone(owner, there);
  }),
);

for (const start of ['more', 'launch'])
  rootTest(`ended with the zygote, it is replaced by the next ${start}`, () =>
    withOwner('commands', async (owner, there) => {
      const [first] = caretakers(owner.pid!);
      await tell(owner, 'endZygote');
      expect(await eventually(() => !isThere(first!))).toBe(true);
      await tell(owner, start);
      await expectAllGone(owner, there);
    }),
  );

rootTest('when the thread has another working directory by a start, it is replaced, and is in none', () =>
  withOwner('commands', async (owner, there) => {
    const [first] = caretakers(owner.pid!);
    expect(readlinkSync(`/proc/${first!.pid}/cwd`)).toBe('/');
    await tell(owner, 'launch');
    expect(caretakers(owner.pid!)).toEqual([expect.objectContaining({ pid: first!.pid })]);
    await tell(owner, 'chdir');
    await tell(owner, 'launch');
    expect(await eventually(() => !isThere(first!))).toBe(true);
    await expectAllGone(owner, there);
  }),
);

for (const start of ['more', 'launch'])
  rootTest(`when the thread has given up privileges by the next ${start}, it has none either`, () =>
    withOwner('commands', async (owner, { directory }) => {
      chmodSync(directory, 0o755);
      for (const name of ['more-1', 'more-2']) {
        writeFileSync(join(directory, name), '');
        chmodSync(join(directory, name), 0o666);
      }
      await tell(owner, 'nobody');
      await tell(owner, start);
      const users = () => caretakers(owner.pid!).map(({ pid }) => /^Uid:.*$/m.exec(statusOf(pid))?.[0]);
      expect(await eventually(() => users().join() === `Uid:${'\t65534'.repeat(4)}`)).toBe(true);
      // It goes on when what was kept for the next start is let go.
      await delay(1200);
      await tell(owner, 'more');
      const [caretaker] = caretakers(owner.pid!);
      owner.kill('SIGKILL');
      expect(await eventually(() => !isThere(caretaker!))).toBe(true);
      // As that user it may remove nothing here.
      expect(readdirSync(directory).sort()).toEqual(['file', 'more-1', 'more-2', 'state']);
    }),
  );

rootTest('when the thread becomes another user and dies, what it has entrusted before goes all the same', () =>
  withOwner('commands', async (owner, there) => {
    await tell(owner, 'nobody');
    await expectAllGone(owner, there);
  }),
);

rootTest('when the thread goes on as another program, nothing is removed that others may have by now', () =>
  withOwner('commands', async (owner, { directory, cgroup }) => {
    const [first] = caretakers(owner.pid!);
    await tell(owner, 'exec');
    expect(await eventually(() => !isThere(first!), 20_000)).toBe(true);
    expect(readFileSync(`/proc/${owner.pid}/comm`, 'utf8')).toBe('sleep\n');
    expect([existsSync(cgroup), readdirSync(directory).sort()]).toEqual([true, ['file', 'state']]);
  }),
);

rootTest('it is not the first process of another pid namespace', () =>
  withOwner('commands', async (owner) => {
    await tell(owner, 'endZygote');
    await tell(owner, 'unshare');
    await tell(owner, 'more');
    expect(caretakers(owner.pid!)).toEqual([]);
    await tell(owner, 'endZygote');
    await tell(owner, 'spawn');
  }),
);

rootTest('stopped, it holds nobody up for long, and what it cannot be told goes to another', () =>
  withOwner('commands', async (owner, there) => {
    const [first] = caretakers(owner.pid!);
    process.kill(first!.pid, 'SIGSTOP');
    await tell(owner, 'flood');
    process.kill(first!.pid, 'SIGCONT');
    expect(await eventually(() => !isThere(first!))).toBe(true);
    await expectAllGone(owner, there);
  }),
);

rootTest('of more than it has room for it removes the first, and a warning says so once', () =>
  withOwner('commands', async (owner, { directory }) => {
    const said = [...(await tell(owner, 'overflow')), ...(await tell(owner, 'more'))];
    expect(said.sort()).toEqual(['NS_TOO_MUCH_ENTRUSTED', 'more', 'overflow']);
    for (const name of ['many-0', 'many-4000', 'many-4999']) writeFileSync(join(directory, name), '');
    const [caretaker] = caretakers(owner.pid!);
    owner.kill('SIGKILL');
    expect(await eventually(() => !isThere(caretaker!))).toBe(true);
    expect(readdirSync(directory).sort()).toEqual(['many-4999', 'more-1']);
  }),
);

rootTest('what cannot be removed holds up nothing else', () =>
  withOwner('stuck', async (owner, { directory, cgroup }) => {
    const [caretaker] = caretakers(owner.pid!);
    owner.kill('SIGKILL');
    expect(await eventually(() => !existsSync(join(cgroup, 'free')) && readdirSync(directory).length === 0)).toBe(true);
    expect(existsSync(join(cgroup, 'stuck'))).toBe(true);
    expect(await eventually(() => !isThere(caretaker!), 15_000)).toBe(true);
  }),
);

rootTest('a symbolic link goes with its text only', () =>
  withOwner('links', async (owner, { directory }) => {
    const [caretaker] = caretakers(owner.pid!);
    owner.kill('SIGKILL');
    expect(await eventually(() => !isThere(caretaker!))).toBe(true);
    const left = Object.fromEntries(readdirSync(directory).map((name) => [name, readlinkSync(join(directory, name))]));
    expect(left).toEqual({ longer: 'mine and more', shorter: 'min', other: 'mime' });
  }),
);

function links(namespace: number): string[] {
  const at = `--net=/proc/${process.pid}/fd/${namespace}`;
  const all = JSON.parse(execFileSync('nsenter', [at, 'ip', '-j', 'link'], { encoding: 'utf8' }));
  return all.map(({ ifname }: { ifname: string }) => ifname);
}

rootTest('requests are made of the kernel in their order, whatever becomes of those before', async () => {
  using requests = new NodeScript('entrusts-network');
  const owner = requests.start([]);
  let namespace: number | undefined;
  try {
    await hear(owner, 'made');
    namespace = openSync(`/proc/${owner.pid}/ns/net`, 'r');
    const there = namespace;
    expect(links(there)).toEqual(['lo', 'gone', 'kept', 'free']);
    const [caretaker] = caretakers(owner.pid!);
    owner.kill('SIGKILL');
    expect(await eventually(() => !isThere(caretaker!), 10_000)).toBe(true);
    // What several entrusted as the last is sent once.
    expect(links(there)).toEqual(['lo', 'kept', 'free', 'bridge0']);
  } finally {
    owner.kill('SIGKILL');
    if (namespace !== undefined) closeSync(namespace);
  }
});

rootTest('requests are not made of another network namespace than they were entrusted in', async () => {
  using requests = new NodeScript('entrusts-network');
  const directory = mkdtempSync(join(tmpdir(), 'entrusted-'));
  const file = join(directory, 'file');
  writeFileSync(file, '');
  const owner = requests.start([file]);
  let namespace: number | undefined;
  try {
    await hear(owner, 'made');
    namespace = openSync(`/proc/${owner.pid}/ns/net`, 'r');
    expect(links(namespace)).toEqual(['lo', 'here', 'free']);
    const [caretaker] = caretakers(owner.pid!);
    owner.kill('SIGKILL');
    expect(await eventually(() => !isThere(caretaker!))).toBe(true);
    expect(links(namespace)).toEqual(['lo', 'free']);
    expect(existsSync(file)).toBe(false);
  } finally {
    owner.kill('SIGKILL');
    if (namespace !== undefined) closeSync(namespace);
    rmSync(directory, { recursive: true });
  }
});

rootTest('it ends when nothing is entrusted any more', async () => {
  patience.idleMs = 100;
  const held = entrust({ files: ['/nowhere'] });
  const [caretaker] = caretakers(process.pid);
  await delay(300);
  expect(isThere(caretaker!)).toBe(true);
  held[Symbol.dispose]();
  expect(await eventually(() => !isThere(caretaker!))).toBe(true);
});
