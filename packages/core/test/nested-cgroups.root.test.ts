import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { detectCgroups } from '@ns/cgroups';
import { Container, type ContainerSpec } from '@ns/core';
import { eventually, needs, notRoot, processEntries } from '@ns/testing';
import { cgroupDirectories, remaining, useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* What a container has made in its cgroup goes with it when nobody is left but the monitor. */

useOwnStateRoot();
const rootTest = needs(notRoot);
const host = detectCgroups();
const notV2 = host.mode === 'v2' ? undefined : 'not a cgroup v2 host';
const limits = { memory: '64MiB', pids: 40 };
let owner: NodeProgram;
beforeAll(() => {
  owner = new NodeProgram('nested-owner');
});
afterAll(() => owner[Symbol.dispose]());

/** Kills the owner of a container in whose cgroups `act` did something; the cgroups. */
async function outlived(
  spec: Partial<ContainerSpec>,
  act: (directories: string[]) => void | Promise<void>,
): Promise<string[]> {
  const child = owner.start([JSON.stringify(spec)]);
  try {
    const { value } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
    const directories = cgroupDirectories(Number(value));
    expect(directories.length).toBeGreaterThan(0);
    await act(directories);
    child.kill('SIGKILL');
    await once(child, 'exit');
    return directories;
  } finally {
    child.kill('SIGKILL');
  }
}

const areGone = (directories: readonly string[]) => eventually(() => remaining(directories).length === 0);

/** Names that no cgroup of ours has: of any bytes, and of the longest there may be. */
const strangeNames = [
  Buffer.from('...'),
  Buffer.from('..x'),
  Buffer.from('.hidden'),
  Buffer.from([0xff, 0xfe, 0x2e]),
  Buffer.from(' \t\x01'),
  Buffer.alloc(255, 'x'),
  Buffer.alloc(255, 0xe9),
];

rootTest('names of any bytes, and cgroups in them', async () => {
  const directories = await outlived({ limits }, (all) => {
    for (const directory of all)
      for (const name of strangeNames) {
        const path = Buffer.concat([Buffer.from(`${directory}/`), name]);
        mkdirSync(path);
        mkdirSync(Buffer.concat([path, Buffer.from('/inner')]));
      }
  });
  expect(await areGone(directories)).toBe(true);
});

rootTest('deeper than a path can say', async () => {
  const here = process.cwd();
  const directories = await outlived({ limits }, ([directory]) => {
    try {
      process.chdir(directory!);
      for (let depth = 0; depth < 60; depth++) {
        const name = String(depth).padStart(100, 'd');
        mkdirSync(name);
        process.chdir(name);
      }
    } finally {
      process.chdir(here);
    }
  });
  expect(await areGone(directories)).toBe(true);
});

rootTest('many', async () => {
  const directories = await outlived({ limits }, ([directory]) => {
    for (let i = 0; i < 300; i++) mkdirSync(`${directory}/job-${i}`);
    for (let i = 0; i < 300; i += 10) mkdirSync(`${directory}/job-${i}/inner/most`, { recursive: true });
  });
  expect(await areGone(directories)).toBe(true);
});

needs(notRoot ?? notV2)('made by the container itself, with processes in them', async () => {
  const script =
    'cd /sys/fs/cgroup && mkdir own job && echo 1 > own/cgroup.procs; echo $$ > own/cgroup.procs; sleep 600 & echo $! > job/cgroup.procs; wait';
  const spec = { limits, cgroupAccess: 'delegated', init: false, command: ['sh', '-c', script] } as const;
  const directories = await outlived(spec, () => {});
  expect(await areGone(directories)).toBe(true);
});

rootTest('processes that no pid namespace ends, also when they go on forking', async () => {
  const script = 'for i in $(seq 150); do setsid sleep 611 & done; (while sleep 0.001; do :; done) & exec sleep 600';
  const spec = { limits: { pids: 300 }, namespaces: { pid: 'host' }, command: ['sh', '-c', script] } as const;
  let members: number[] = [];
  const directories = await outlived(spec, async (all) => {
    expect(await eventually(() => all.flatMap(membersOf).length > 150)).toBe(true);
    members = all.flatMap(membersOf);
  });
  expect(await areGone(directories)).toBe(true);
  expect(processEntries().filter(({ pid, state }) => members.includes(pid) && state !== 'Z')).toEqual([]);
});

function membersOf(directory: string): number[] {
  return readFileSync(`${directory}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).map(Number);
}

rootTest('a tree that an update has taken it into', async () => {
  let directories: string[] = [];
  const child = owner.start([JSON.stringify({ limits: { memory: '64MiB' } })]);
  try {
    const { value } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
    const [found] = await Container.list({ status: 'running' });
    const container = await Container.get(found!.id);
    expect(container.pid).toBe(Number(value));
    await container.update({ limits: { pids: 9 } });
    directories = cgroupDirectories(container.pid!);
    const inside = await container.exec('sh', ['-c', 'for i in 1 2 3 4 5 6 7 8 9; do sleep 9 & done; wait']);
    expect(inside.stderr).toMatch(/fork/);
  } finally {
    child.kill('SIGKILL');
  }
  await once(child, 'exit');
  expect(directories.some((directory) => /pids|^\/sys\/fs\/cgroup\/ns/.test(directory))).toBe(true);
  expect(await areGone(directories)).toBe(true);
});
