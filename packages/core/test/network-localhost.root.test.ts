import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type ContainerSpec, Network } from '@ns/core';
import { needs, notRoot } from '@ns/testing';
import { getProgram, idle, useOwnHost } from './network-host.ts';

const test = needs(notRoot);
useOwnHost();

/** A server on port 80 of one address, which says who asked. */
const serverAt = (address: string) =>
  `require('http').createServer((q, r) => r.end('for ' + q.socket.remoteAddress)).listen({ port: 80, host: '${address}', ipv6Only: true })`;

for (const policy of ['without a policy', 'with a policy of its own'] as const)
  for (const place of ['a network', 'no network'] as const)
    test(`localhost leads to what listens on one version of IP only: ${place}, ${policy}`, async () => {
      await using network = await Network.create({ name: 'shop', dns: [] });
      const spec: Partial<ContainerSpec> = {
        ports: ['0:80'],
        ...(place === 'a network' ? { network } : {}),
        ...(policy === 'without a policy' ? {} : { egress: { allow: [] } }),
      };
      for (const [address, client] of [
        ['0.0.0.0', /^for \d+(\.\d+){3}$/],
        ['::', /^for fd/],
      ] as const) {
        await using c = await idle({ ...spec, command: [process.execPath, '-e', serverAt(address)] });
        await c.exec('sh', ['-c', 'until grep -q ":0050 .* 0A " /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done']);
        const url = `http://[::1]:${c.ports[0]!.hostPort}/`;
        const { stdout } = await promisify(execFile)(process.execPath, ['-e', getProgram(url)]);
        expect(stdout).toMatch(client);
      }
    }, 60_000);
