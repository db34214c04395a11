import { execFileSync } from 'node:child_process';
import { Container, Network, run } from '@ns/core';
import { needs, notRoot } from '@ns/testing';
import { useOwnHost } from './network-host.ts';

const test = needs(notRoot);
useOwnHost();

const CROWD = 200;

test(`${CROWD} containers on one network start and stop at once, and leave nothing`, async () => {
  await using network = await Network.create({ name: 'crowd', dns: [] });
  const [{ gateway } = { gateway: undefined }] = (await network.inspect()).subnets;
  const results = await Promise.all(
    Array.from({ length: CROWD }, () => run('sh', ['-c', 'hostname -I; ip route'], { network, ports: ['0:80'] })),
  );
  expect(results.map(({ exitCode }) => exitCode)).toEqual(Array(CROWD).fill(0));
  expect(results.filter(({ stdout }) => !stdout.includes(`default via ${gateway} dev eth0`))).toEqual([]);
  const addresses = results.map(({ stdout }) => stdout.split(/\s/)[0]);
  expect(new Set(addresses).size).toBe(CROWD);
  expect((await network.inspect()).containers).toEqual([]);
  expect(JSON.parse(execFileSync('bridge', ['-j', 'link'], { encoding: 'utf8' }))).toEqual([]);
  const table = execFileSync('nft', ['list', 'map', 'inet', 'ns', 'publish4'], { encoding: 'utf8' });
  expect(table).not.toContain('elements');
}, 90_000);

test('of containers that end at once each is cleared up after in a turn of the event loop of its own', async () => {
  await using network = await Network.create({ name: 'crowd', dns: [] });
  const spec = { command: ['sleep', '600'], network, stopSignal: 'SIGKILL' } as const;
  const containers = await Promise.all(Array.from({ length: 32 }, () => Container.create(spec)));
  await Promise.all(containers.map((container) => container.start()));
  let turn = 0;
  let counting = setImmediate(function count() {
    turn++;
    counting = setImmediate(count);
  });
  const turns = new Set<number>();
  for (const container of containers) container.on('exit', () => turns.add(turn));
  await Promise.all(containers.map((container) => container.restart()));
  clearImmediate(counting);
  // What the kernel is still busy with, some wait for, and hear of it together.
  expect(turns.size).toBeGreaterThan((containers.length * 3) / 4);
  await Promise.all(containers.map((container) => container.remove({ force: true })));
}, 60_000);
