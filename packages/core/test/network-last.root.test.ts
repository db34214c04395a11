import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Container, Network, run } from '@ns/core';
import { address, BridgeNetwork, link, NetNamespace, route, rule } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { useOwnHost } from './network-host.ts';
import { NodeProgram } from './node-program.ts';

const test = needs(notRoot);
const { stateRoot } = useOwnHost();

const rulesOf = (path: string) =>
  execFileSync('nsenter', [`--net=${path}`, 'nft', 'list', 'ruleset'], { encoding: 'utf8' });

/** What the kernel knows of this host's network. */
async function network() {
  return {
    rules: execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }),
    links: await link.list().then((all) => all.map(({ name, flags }) => ({ name, flags }))),
    addresses: await address.list(),
    // The kernel keeps numbers of its own beside them.
    routes: await route.list().then((all) => all.map(({ to, via, link: out, table }) => ({ to, via, out, table }))),
    policies: await rule.list(),
  };
}

test('the last network takes our rules along, and nothing of it is left on the host or on disk', async () => {
  execFileSync('nft', ['-f', '-'], {
    input: 'add table inet others; add chain inet others c { type filter hook forward priority 5; policy accept; }',
  });
  const before = await network();
  await using first = await Network.create({ name: 'first', dns: [] });
  await using second = await Network.create({ name: 'second', internal: true, driver: 'bridge' });
  const at = { network: [first, second], ports: ['0:80'], egress: { allow: ['10.1.0.0/16'] } };
  await using c = await Container.create({ command: ['sleep', 'infinity'], ...at });
  await c.start();
  const tables = () => execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' }).trim().split('\n').sort();
  const all = ['table bridge ns', 'table inet ns', 'table inet others'];
  expect(tables()).toEqual(all);
  await c.remove({ force: true });
  await second.remove();
  expect(tables()).toEqual(all);
  await first.remove();
  expect(await network()).toEqual(before);

  // A network that was a container's own goes with it.
  await run('true', [], { ports: ['0:80'], egress: { allow: [] } });
  expect(await network()).toEqual(before);
  expect(readdirSync(join(stateRoot, 'subnets')).filter((name) => name !== '.lock')).toEqual([]);
}, 60_000);

for (const operation of ['create', 'remove'] as const)
  test(`killed before any step of ${operation}, the last network leaves nothing that prune does not find`, async () => {
    using host = await NetNamespace.create();
    const path = `/proc/${process.pid}/fd/${host.fd}`;
    const root = mkdtempSync(join(tmpdir(), 'network-'));
    using program = new NodeProgram('network-killed');
    const options = { netns: host, stateRoot: root };
    for (let step = 1, survived = false; !survived; step++) {
      if (operation === 'remove')
        await (await BridgeNetwork.create({ name: 'half', egress: { allow: [] }, upstreams: [], ...options })).close();
      survived = (await program.run([operation, root, path, String(step)])).signal === null;
      await BridgeNetwork.pruneUnfinished(options);
      for (const whole of await BridgeNetwork.list(options)) await (await BridgeNetwork.open(whole, options)).remove();
      expect({ step, rules: rulesOf(path) }).toEqual({ step, rules: '' });
      expect((await link.list({ netns: host })).map(({ name }) => name)).toEqual(['lo']);
    }
    rmSync(root, { recursive: true });
  }, 120_000);

test('processes that add and remove the last network at once never take the rules of another away', async () => {
  using host = await NetNamespace.create();
  const path = `/proc/${process.pid}/fd/${host.fd}`;
  using program = new NodeProgram('network-rival');
  const results = await Promise.all([1, 2, 3].map((number) => program.run([path, `br${number}`, '150'])));
  expect(results).toEqual(Array(3).fill({ exitCode: 0, signal: null, stdout: 'done\n', stderr: '' }));
  expect(rulesOf(path)).toBe('');
}, 120_000);
