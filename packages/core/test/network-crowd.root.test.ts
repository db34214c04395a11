import { execFileSync } from 'node:child_process';
import { Network, run } from '@ns/core';
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
