import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Network, prune } from '@ns/core';
import { identifyProcess } from '@ns/libc';
import { eventually, needs, notRoot, processEntries } from '@ns/testing';
import { useOwnHost } from './network-host.ts';
import { NodeProgram } from './node-program.ts';

const test = needs(notRoot);
useOwnHost();

test('what a process left of its containers that was killed with its caretaker is removed, the network stays', async () => {
  using program = new NodeProgram('network-victim');
  const child = program.start();
  child.stderr.pipe(process.stderr);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const { ids } = JSON.parse(line.toString()) as { ids: string[] };
  expect(await prune()).toMatchObject({ networks: [], endpoints: [] });
  const caretaker = processEntries().find(({ name, parent }) => name === 'ns-caretaker' && parent === child.pid);
  process.kill(caretaker!.pid, 'SIGKILL');
  child.kill('SIGKILL');
  await once(child, 'close');
  const left = () => readFileSync('/proc/net/dev', 'utf8').includes('nsv');
  // The kernel takes a namespace down, and with it both ends of its links, when its last process is gone.
  expect(await eventually(() => !left())).toBe(true);
  const pruned = await prune();
  expect(pruned.failed).toEqual([]);
  expect(pruned.networks).toHaveLength(1);
  expect([...pruned.endpoints].sort()).toEqual(ids);
  await using survivor = await Network.get('survivor');
  expect((await survivor.inspect()).containers).toEqual([]);
  await survivor.remove();
});

test('a name is claimed for as long as its maker lives: then anybody may have it, and prune frees it, at once', async () => {
  using program = new NodeProgram('network-maker');
  for (const next of ['create', 'prune'] as const) {
    expect(await program.run(['claimed', 'dies'])).toMatchObject({ signal: 'SIGKILL', stderr: '' });
    if (next === 'create') await (await Network.create({ name: 'claimed', dns: [] })).remove();
    else expect(await prune()).toMatchObject({ networks: ['claimed'], failed: [] });
    expect(await Network.list()).toEqual([]);
  }
  const maker = program.start(['claimed', 'stays']);
  maker.stderr.pipe(process.stderr);
  try {
    await once(maker.stdout, 'data');
    await expect(Network.create({ name: 'claimed' })).rejects.toMatchObject({ code: 'ERR_NS_NETWORK_EXISTS' });
    expect(await prune()).toMatchObject({ networks: [], failed: [] });
  } finally {
    maker.kill('SIGKILL');
    await once(maker, 'close');
  }
  expect(await prune()).toMatchObject({ networks: ['claimed'], failed: [] });
}, 60_000);

test("a draft of its options is its writer's, for as long as that lives", async () => {
  const directory = join(process.env.NS_STATE_ROOT!, 'network-options');
  const { pid, startTime } = identifyProcess(process.pid)!;
  const [own, dead, old] = [`${pid}.${startTime}`, `${pid}.${startTime - 1}`, `${pid}`].map((writer) =>
    join(directory, `drafted.json.${writer}`),
  ) as [string, string, string];
  mkdirSync(directory, { recursive: true });
  for (const draft of [own, dead, old]) writeFileSync(draft, '{}');
  await prune();
  expect([own, dead, old].map((draft) => existsSync(draft))).toEqual([true, false, false]);
  rmSync(own);
});
