import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { Cgroup, pruneCgroups } from '@ns/cgroups';
import { leaveDescriptors, needs, notRoot } from '@ns/testing';

/* Whoever a cgroup was delegated to makes in it what he likes: that must not keep anybody from removing it. */

const rootTest = needs(notRoot);

/** A cgroup with these directories in it, each level from inside the one before. */
function makeDeep(top: string, names: readonly string[]): void {
  const here = process.cwd();
  try {
    process.chdir(top);
    for (const name of names) {
      mkdirSync(name);
      process.chdir(name);
    }
  } finally {
    process.chdir(here);
  }
}

const strangeNames = [
  Buffer.from('...'),
  Buffer.from('.hidden'),
  Buffer.from([0xff, 0xfe, 0x2e]),
  Buffer.from(' \t\x01'),
  Buffer.alloc(255, 0xe9),
];

for (const [what, make] of [
  ['deeper than a path can say', (top) => makeDeep(top, Array(60).fill('d'.repeat(100)))],
  ['deeper than the stack goes and descriptors reach', (top) => makeDeep(top, Array(2_000).fill('d'))],
  [
    'under names of any bytes',
    (top) => {
      for (const name of strangeNames)
        mkdirSync(Buffer.concat([Buffer.from(`${top}/`), name, Buffer.from('/')]), { recursive: true });
    },
  ],
] as const satisfies readonly [string, (top: string) => void][]) {
  rootTest(`children ${what} go with it`, async () => {
    const cgroup = await Cgroup.create('hostile', { pids: { max: 10 } });
    for (const path of cgroup.paths) make(path);
    expect(await cgroup.processes()).toEqual([]);
    await cgroup[Symbol.asyncDispose]();
    expect(cgroup.paths.filter((path) => existsSync(path))).toEqual([]);
  });

  rootTest(`children ${what} do not stop prune(), which leaves them to a living owner`, async () => {
    await using cgroup = await Cgroup.create('hostile', {});
    const [path] = cgroup.paths;
    make(path!);
    expect((await pruneCgroups()).failed).toEqual([]);
    expect(existsSync(path!)).toBe(true);
  });
}

rootTest('what a delegated cgroup has in it, empty and old, is not for prune()', async () => {
  await using cgroup = await Cgroup.create('delegated', {});
  const job = `${cgroup.paths[0]}/job`;
  mkdirSync(job);
  // Older than any maker would take to mark it.
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await pruneCgroups();
  expect(existsSync(job)).toBe(true);
});

rootTest('prune() keeps no descriptor of what it did not come to remove', async () => {
  const owner = spawn('sleep', ['60'], { stdio: 'ignore' });
  const names = ['orphan-a', 'orphan-b'];
  for (const name of names) (await Cgroup.create(name, { pids: { max: 5 } }, { owner: owner.pid! })).close();
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  const before = readdirSync('/proc/self/fd').length;
  const removed: string[] = [];
  for (let left = 0; left < 60 && removed.length < names.length; left++) {
    try {
      using _limit = leaveDescriptors(left);
      removed.push(...(await pruneCgroups()).removed);
    } catch (error) {
      expect(error).toMatchObject({ code: 'EMFILE' });
    }
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before);
  }
  expect(removed.sort()).toEqual(expect.arrayContaining(names));
});
