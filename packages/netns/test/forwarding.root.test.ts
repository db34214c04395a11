import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { address, BridgeNetwork, Firewall, link, type NetNamespace, route, sysctl } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { client, inside, machine, ResourceStack, serve, TCP_CLIENT, TCP_SERVER } from './scene.ts';

/* What a host routes that routes for our networks only. */

const rootTest = needs(notRoot);

const switches = ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding'] as const;
const redirects = 'net.ipv4.conf.all.accept_redirects';
const options = { name: 'web', subnet: '10.77.0.0/24', ipv6: { subnet: 'fd00:77::/64' } } as const;

/** A host that does not route, between two networks: somebody on each, and other programs' containers behind a veth. */
async function between(scope: ResourceStack) {
  const stateRoot = mkdtempSync(join(tmpdir(), 'network-'));
  scope.defer(() => rmSync(stateRoot, { recursive: true }));
  const host = await machine(scope);
  const neighbour = async (number: number, name: string, kind: 'veth' | 'macvlan') => {
    const netns = await machine(scope);
    const end = kind === 'veth' ? name : `${name}-wire`;
    await link.createVeth({ name: end, netns: host, up: true, peer: { name: 'eth0', netns, up: true } });
    // What a machine's own links are, for want of such.
    if (kind === 'macvlan') {
      await link.createMacvlan({ name, parent: end, mode: 'private', netns: host, up: true });
      // Its parent would answer for it.
      await sysctl.set(`net.ipv4.conf.${end}.arp_ignore`, 1, { netns: host });
    }
    await address.add(name, `192.0.2.${number * 16 + 1}/28`, { netns: host });
    await address.add(name, `2001:db8:${number}::1/64`, { netns: host, nodad: true });
    await address.add('eth0', `192.0.2.${number * 16 + 2}/28`, { netns });
    await address.add('eth0', `2001:db8:${number}::2/64`, { netns, nodad: true });
    await route.add({ to: 'default', via: `192.0.2.${number * 16 + 1}`, netns });
    await route.add({ to: 'default', via: `2001:db8:${number}::1`, netns });
    return netns;
  };
  const left = await neighbour(1, 'left', 'macvlan');
  const right = await neighbour(2, 'right', 'macvlan');
  const theirs = await neighbour(3, 'theirs', 'veth');
  for (const name of switches) await sysctl.set(name, 0, { netns: host });
  await sysctl.set(redirects, 0, { netns: host });
  await serve(scope, right, 'right', TCP_SERVER);
  const reach = (from: NetNamespace) =>
    Promise.all(['192.0.2.34', '2001:db8:2::2'].map((to) => client(from, TCP_CLIENT, to, 80, 1500)));
  const routes = () => Promise.all(switches.map((name) => sysctl.get(name, { netns: host })));
  return { stateRoot, host, left, right, theirs, reach, routes, ...options, netns: host, upstreams: [] };
}

const nothing = [expect.stringMatching(/^(TIMEOUT|ENETUNREACH)$/), expect.stringMatching(/^(TIMEOUT|ENETUNREACH)$/)];
const both = [expect.stringMatching(/^right saw/), expect.stringMatching(/^right saw/)];

rootTest('a host that does not route does so for our networks alone, and as long as there are some', async () => {
  await using scope = new ResourceStack();
  const { left, right, theirs, reach, routes, ...world } = await between(scope);
  const { netns: host, stateRoot } = world;
  expect(await reach(left)).toEqual(nothing);
  const first = await BridgeNetwork.create(world);
  const second = await BridgeNetwork.create({
    netns: host,
    stateRoot: `${stateRoot}/other`,
    name: 'web',
    upstreams: [],
  });
  const inner = await machine(scope);
  await first.connect({ owner: 'inner', netns: inner, ports: ['8080:80'] });
  await serve(scope, inner, 'inner', TCP_SERVER);
  expect(await routes()).toEqual(['1', '1']);
  expect(await reach(left)).toEqual(nothing);
  expect(await reach(inner)).toEqual(both);
  expect(await reach(theirs)).toEqual(both);
  expect(await client(right, TCP_CLIENT, '192.0.2.33', 8080)).toMatch(/^inner saw/);
  await first.remove();
  expect(await routes()).toEqual(['1', '1']);
  expect(await reach(left)).toEqual(nothing);
  await second.remove();
  expect(await routes()).toEqual(['0', '0']);
  expect(await sysctl.get(redirects, { netns: host })).toBe('0');
  expect(inside(host, 'nft', 'list', 'ruleset')).toBe('');
});

rootTest('a host that is a router stays one, and so does one that becomes it meanwhile', async () => {
  await using scope = new ResourceStack();
  const { left, reach, routes, ...world } = await between(scope);
  const { netns: host } = world;
  // Of one version of IP alone.
  await sysctl.set(switches[0], 1, { netns: host });
  const network = await BridgeNetwork.create(world);
  expect(await reach(left)).toEqual([both[0], nothing[1]]);
  await network.remove();
  expect(await routes()).toEqual(['1', '0']);
  await sysctl.set(switches[0], 0, { netns: host });
  const another = await BridgeNetwork.create(world);
  expect(await reach(left)).toEqual(nothing);
  // As the rule that drops says.
  inside(host, 'nft', 'flush', 'set', 'inet', 'ns', 'strangers');
  expect(await reach(left)).toEqual(both);
  await another.remove();
  expect(await reach(left)).toEqual(both);
});

rootTest('a host on which others have rules for what is routed goes on', async () => {
  await using scope = new ResourceStack();
  const { routes, ...world } = await between(scope);
  const { netns: host } = world;
  const network = await BridgeNetwork.create(world);
  inside(host, 'nft', 'add table ip others');
  inside(host, 'nft', 'add chain ip others forward { type filter hook forward priority 0; }');
  await network.remove();
  // Nobody has written a rule yet.
  expect(await routes()).toEqual(['0', '0']);
  const another = await BridgeNetwork.create(world);
  inside(host, 'nft', 'add rule ip others forward accept');
  await another.remove();
  expect(await routes()).toEqual(['1', '1']);
});

rootTest(
  'who makes a network while another removes the last one finds a host that routes',
  async () => {
    await using scope = new ResourceStack();
    const { netns: host, stateRoot, routes } = await between(scope);
    const program = `
      import { Firewall, NetNamespace, sysctl } from '@ns/netns';
      import { setTimeout as delay } from 'node:timers/promises';
      const [path, bridge, subnet] = process.argv.slice(1);
      const netns = await NetNamespace.open({ path });
      for (let round = 0; round < 80; round++) {
        const firewall = await Firewall.open({ netns });
        const network = { bridge, subnets: [subnet] };
        await firewall.addNetwork(network);
        let routes = false;
        for (let times = 0; !routes && times < 200; times++) {
          routes = (await sysctl.get('net.ipv4.ip_forward', { netns })) === '1';
          if (!routes) await delay(1);
        }
        if (!routes) console.log('does not route in round', round);
        firewall.removeNetwork(network);
        firewall.close();
        await Firewall.removeUnused({ netns });
      }
    `;
    const path = `/proc/${process.pid}/fd/${host.fd}`;
    const run = async (number: number) => {
      const bridge = `br${number}`;
      await link.createBridge({ name: bridge, netns: host, up: true });
      const node = ['--input-type=module', '-e', program, path, bridge, `10.88.${number}.0/24`];
      const { stdout } = await promisify(execFile)(process.execPath, node, { cwd: import.meta.dirname });
      return stdout;
    };
    expect(await Promise.all([run(1), run(2)])).toEqual(['', '']);
    expect((await routes())[0]).toBe('0');
    expect(stateRoot).not.toBe('');
    await Firewall.remove({ netns: host });
  },
  120_000,
);
