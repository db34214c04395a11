import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { isDeepStrictEqual } from 'node:util';
import { BridgeNetwork, link, NetNamespace, Resolver } from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { NodeProgram } from './node-program.ts';

const test = needs(notRoot);

/** A host with a network on it, and what the kernel and the disk have of networks. */
async function useHost() {
  const stateRoot = mkdtempSync(join(tmpdir(), 'network-'));
  const host = await NetNamespace.create();
  const at = `/proc/${process.pid}/fd/${host.fd}`;
  const nft = (...args: string[]) => execFileSync('nsenter', [`--net=${at}`, 'nft', ...args], { encoding: 'utf8' });
  const network = await BridgeNetwork.create({
    name: 'web',
    subnet: '10.77.0.0/24',
    ipv6: 'none',
    netns: host,
    stateRoot,
    upstreams: [],
  });
  return {
    stateRoot,
    host,
    at,
    network,
    links: async (kind: 'veth' | 'bridge') => (await link.list({ netns: host, kind })).length,
    rules: () => nft('list', 'table', 'inet', 'ns'),
    portRules: () => nft('list', 'ruleset', 'bridge'),
    async [Symbol.asyncDispose]() {
      await network.remove();
      host.close();
      rmSync(stateRoot, { recursive: true });
    },
  };
}

/** Runs a program that dies before its first step, its second, and so on, until it survives. */
async function killAtEachStep(
  args: readonly string[],
  before: () => Promise<unknown>,
  after: (survived: boolean) => Promise<void>,
): Promise<number> {
  using program = new NodeProgram('network-killed');
  for (let step = 1; ; step++) {
    await before();
    const { signal, stdout, stderr } = await program.run([...args, String(step)]);
    const survived = signal === null;
    expect({ stdout, stderr }).toEqual({ stdout: survived ? 'done\n' : '', stderr: '' });
    await after(survived);
    if (survived) return step;
  }
}

for (const operation of ['connect', 'disconnect'] as const)
  test(`a process killed before any step of ${operation} leaves nothing that prune does not find`, async () => {
    await using world = await useHost();
    const { stateRoot, at, network } = world;
    const steps = await killAtEachStep(
      [operation, stateRoot, at],
      async () => {},
      async (survived) => {
        const pruned = await network.prune((owner) => owner === 'victim');
        if (survived) expect(pruned).toEqual(operation === 'connect' ? ['victim'] : []);
        // A link whose namespace died with the process goes in the kernel's own time.
        expect(await eventually(async () => (await world.links('veth')) === 0)).toBe(true);
        expect(await network.endpoints()).toEqual([]);
        expect(readdirSync(join(stateRoot, 'ipam', 'web', 'inet'))).toEqual([]);
        // Published ports, and chains, sets and port of a policy.
        expect(world.rules()).not.toMatch(/8080|egress_|guard_|refuse_|opened/);
        expect(world.portRules()).not.toContain('elements');
      },
    );
    // Fewer would mean that the faults were not where they should be.
    expect(steps).toBeGreaterThan(operation === 'connect' ? 12 : 5);
    using successor = await NetNamespace.create();
    await network.connect({ owner: 'successor', netns: successor });
  }, 90_000);

for (const operation of ['connect', 'disconnect', 'create'] as const)
  test(`killed before any step of ${operation}, nothing stays of what was entrusted to the caretaker`, async () => {
    await using world = await useHost();
    const { stateRoot, at, host } = world;
    const left = async () => ({
      rules: world.rules(),
      portRules: world.portRules().includes('elements'),
      links: (await link.list({ netns: host })).map(({ name }) => name).sort(),
      files: filesBelow(stateRoot),
    });
    const before = await left();
    using program = new NodeProgram('network-killed');
    for (let step = 1, survived = false; !survived; step++) {
      const { signal, stderr } = await program.run([operation, stateRoot, at, String(step), 'entrusted']);
      survived = signal === null;
      // Whoever survives ends by itself, and then nothing stays, either.
      await eventually(async () => isDeepStrictEqual(await left(), before));
      expect({ step, stderr, ...(await left()) }).toEqual({ step, stderr: '', ...before });
    }
  }, 90_000);

for (const operation of ['create', 'remove'] as const)
  test(`a process killed before any step of ${operation} leaves a whole network, or one that prune removes`, async () => {
    await using world = await useHost();
    const { stateRoot, at, host } = world;
    const options = { netns: host, stateRoot, upstreams: [] };
    const rulesBefore = world.rules();
    const steps = await killAtEachStep(
      [operation, stateRoot, at],
      async () => {
        if (operation === 'create') return;
        const subnet = '10.78.0.0/24';
        const half = { name: 'half', subnet, ipv6: 'none', egress: { allow: [] }, ...options } as const;
        await (await BridgeNetwork.create(half)).close();
      },
      async () => {
        const pruned = await BridgeNetwork.pruneUnfinished(options);
        if ((await BridgeNetwork.list({ stateRoot })).includes('half')) {
          expect(pruned).toEqual([]);
          const whole = await BridgeNetwork.open('half', options);
          expect(world.rules()).toContain('egress_');
          await whole.remove();
        }
        expect(await world.links('bridge')).toBe(1);
        expect(world.rules()).toBe(rulesBefore);
        for (const directory of ['networks', 'ipam'])
          expect(readdirSync(join(stateRoot, directory)).filter((name) => name !== 'web')).toEqual([]);
        expect(readdirSync(join(stateRoot, 'subnets')).filter((name) => name.includes('10.78'))).toEqual([]);
      },
    );
    expect(steps).toBeGreaterThan(10);
    await (await BridgeNetwork.create({ name: 'half', subnet: '10.78.0.0/24', ...options })).remove();
  }, 90_000);

test('when the process that serves the names is killed, another answers, each container by its policy', async () => {
  const stateRoot = mkdtempSync(join(tmpdir(), 'network-'));
  using host = await NetNamespace.create();
  const at = `/proc/${process.pid}/fd/${host.fd}`;
  // The host's resolver, on its loopback.
  await using upstream = await Resolver.start({ netns: host, listen: ['127.0.0.53'], upstreams: [] });
  upstream.names.add('x', 'good.test', '198.51.100.7');
  upstream.names.add('x', 'other.test', '198.51.100.8');
  using program = new NodeProgram('name-server');
  const server = program.start([stateRoot, at, '127.0.0.53']);
  const ended = once(server, 'close');
  try {
    await once(server.stdout, 'data');
    await using network = await BridgeNetwork.open('served', { netns: host, stateRoot, upstreams: ['127.0.0.53'] });
    using a = await NetNamespace.create();
    using b = await NetNamespace.create();
    await network.connect({ owner: 'a', netns: a, names: ['a'], egress: { allow: ['good.test'] } });
    await network.connect({ owner: 'b', netns: b, names: ['b'] });
    const answers = () => Promise.all([a, b].map((from) => lookUp(from, ['good.test', 'other.test', 'a'])));
    const right = ['198.51.100.7 ENOTFOUND ENOTFOUND', '198.51.100.7 198.51.100.8 10.79.0.2'];
    expect(await answers()).toEqual(right);
    server.kill('SIGKILL');
    await ended;
    const served = () =>
      execFileSync('nsenter', [`--net=${at}`, 'ss', '-Hnul'], { encoding: 'utf8' }).includes('10.79.0.1:53');
    expect(await eventually(served)).toBe(true);
    expect(await answers()).toEqual(right);
    await network.changeEgressOf('a', { allow: ['other.test', 'b'] });
    expect(await lookUp(a, ['good.test', 'other.test', 'b'])).toBe('ENOTFOUND 198.51.100.8 10.79.0.3');
    await network.remove();
  } finally {
    server.kill('SIGKILL');
    await ended;
    rmSync(stateRoot, { recursive: true });
  }
}, 60_000);

/** What a container's name server says of each name. */
async function lookUp(from: NetNamespace, names: readonly string[]): Promise<string> {
  const program = `const r=new (require('dns').promises.Resolver)({timeout:10000,tries:1});r.setServers(['10.79.0.1']);Promise.all(process.argv.slice(1).map((n)=>r.resolve4(n).then((a)=>a[0],(e)=>e.code))).then((all)=>console.log(all.join(' ')))`;
  const args = [`--net=/proc/${process.pid}/fd/${from.fd}`, process.execPath, '-e', program, ...names];
  const child = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  return (await text(child.stdout)).trim();
}

function filesBelow(directory: string): string[] {
  try {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort();
  } catch {
    return ['what was removed while it was read'];
  }
}
