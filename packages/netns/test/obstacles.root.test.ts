import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BridgeNetwork, findForwardingObstacles, type NetNamespace, route } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import {
  client,
  hostAndOutside,
  inside,
  machine,
  ResourceStack,
  serve,
  setBridgeNetfilter,
  TCP_CLIENT,
  TCP_SERVER,
} from './scene.ts';

const rootTest = needs(notRoot);

// What dockerd makes through iptables-nft.
const docker = `
table ip filter {
  chain INPUT { type filter hook input priority filter; policy accept; }
  chain FORWARD { type filter hook forward priority filter; policy drop;
    counter jump DOCKER-USER
    oifname "docker0" ct state related,established counter accept
    iifname "docker0" oifname != "docker0" counter accept
  }
  chain DOCKER-USER { counter return; }
}
table ip nat {
  chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept;
    oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade
  }
}
`;
// What firewalld makes, cut to what decides on forwarded packets.
const firewalld = `
table inet firewalld {
  chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    jump filter_FORWARD_ZONES
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD_ZONES { }
  chain filter_INPUT { type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
  }
}
`;

async function world(scope: ResourceStack, rules: string) {
  const stateRoot = mkdtempSync(join(tmpdir(), 'network-'));
  scope.defer(() => rmSync(stateRoot, { recursive: true }));
  const { host, outside } = await hostAndOutside(scope);
  const [a, b] = [await machine(scope), await machine(scope)];
  await route.add({ to: 'default', via: '198.51.100.2', netns: host });
  await setBridgeNetfilter(host, 0);
  inside(host, 'nft', rules);
  const options = { name: 'web', ipv6: 'none', netns: host, stateRoot, upstreams: [] } as const;
  return { options, host, outside, a, b };
}

/** Their tables as nft lists them, without counters. */
function theirs(host: NetNamespace): string {
  return inside(host, 'nft', '-s', 'list', 'ruleset').replace(/^table inet ns \{\n(?:.*\n)*?\}\n/m, '');
}

/** Process warnings from now on. Jest's process is a copy whose listeners hear none. */
function warnings(scope: ResourceStack): { code?: string; detail?: string }[] {
  const seen: { code?: string; detail?: string }[] = [];
  const original = process.emitWarning;
  process.emitWarning = (_warning: string | Error, options?: unknown) => {
    seen.push(options as { code?: string; detail?: string });
  };
  scope.defer(() => {
    process.emitWarning = original;
  });
  return seen;
}

rootTest(
  "beside Docker's rules: nothing of them changes, what they drop is said, and the rules given let it through",
  async () => {
    await using scope = new ResourceStack();
    const { options, host, outside, a, b } = await world(scope, docker);
    const seen = warnings(scope);
    const before = theirs(host);
    {
      await using network = await BridgeNetwork.create(options);
      const { bridge } = network.record;
      await network.connect({ owner: 'a', netns: a });
      const second = await network.connect({ owner: 'b', netns: b, ports: ['8080:80'] });
      await serve(scope, outside, 'outside', TCP_SERVER);
      await serve(scope, b, 'b', TCP_SERVER);
      expect(theirs(host)).toBe(before);

      // Neighbours, and the host with its localhost, do not pass their chain; everything else does.
      expect(await client(a, TCP_CLIENT, second.address!, 80)).toMatch(/^b saw/);
      expect(await client(host, TCP_CLIENT, '127.0.0.1', 8080)).toMatch(/^b saw/);
      expect(await client(a, TCP_CLIENT, '198.51.100.2', 80, 1500)).toBe('TIMEOUT');
      expect(await client(outside, TCP_CLIENT, '198.51.100.1', 8080, 1500)).toBe('TIMEOUT');

      const [obstacle] = findForwardingObstacles(bridge, { netns: host });
      expect(obstacle).toMatchObject({
        family: 'ip',
        table: 'filter',
        chain: 'FORWARD',
        fix: [
          `iptables -I DOCKER-USER -i ${bridge} -j ACCEPT`,
          `iptables -I DOCKER-USER -o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT`,
        ],
      });
      expect(seen.map(({ code }) => code)).toEqual(['NS_NETWORK_BLOCKED']);
      expect(seen[0]!.detail).toContain(obstacle!.fix[0]);

      // The same rules in nft's words: iptables is not on every machine.
      inside(host, 'nft', `insert rule ip filter DOCKER-USER iifname "${bridge}" accept`);
      inside(host, 'nft', `insert rule ip filter DOCKER-USER oifname "${bridge}" ct state established,related accept`);
      inside(host, 'nft', `insert rule ip filter DOCKER-USER oifname "${bridge}" ct status dnat accept`);
      expect(await client(a, TCP_CLIENT, '198.51.100.2', 80)).toMatch(/^outside saw ::ffff:198.51.100.1 /);
      expect(await client(outside, TCP_CLIENT, '198.51.100.1', 8080)).toMatch(/^b saw ::ffff:198.51.100.2 /);
      inside(host, 'nft', 'flush chain ip filter DOCKER-USER; add rule ip filter DOCKER-USER counter return');
    }
    expect(theirs(host)).toBe(before);
  },
  60_000,
);

rootTest(
  "beside firewalld's rules: published ports work, the way out waits for a zone",
  async () => {
    await using scope = new ResourceStack();
    const { options, host, outside, a } = await world(scope, firewalld);
    const seen = warnings(scope);
    const before = theirs(host);
    {
      await using network = await BridgeNetwork.create(options);
      const { bridge } = network.record;
      await network.connect({ owner: 'a', netns: a, ports: ['8080:80'] });
      await serve(scope, outside, 'outside', TCP_SERVER);
      await serve(scope, a, 'a', TCP_SERVER);
      expect(await client(outside, TCP_CLIENT, '198.51.100.1', 8080)).toMatch(/^a saw ::ffff:198.51.100.2 /);
      expect(await client(a, TCP_CLIENT, '198.51.100.2', 80)).toMatch(/^E(HOSTUNREACH|ACCES)/);
      expect(seen[0]).toMatchObject({ code: 'NS_NETWORK_BLOCKED' });
      expect(seen[0]!.detail).toContain(`--zone=trusted --add-interface=${bridge}`);
      // What that command does.
      inside(host, 'nft', `add rule inet firewalld filter_FORWARD_ZONES iifname "${bridge}" accept`);
      expect(await client(a, TCP_CLIENT, '198.51.100.2', 80)).toMatch(/^outside saw/);
      inside(host, 'nft', 'flush chain inet firewalld filter_FORWARD_ZONES');
    }
    expect(theirs(host)).toBe(before);
    expect(findForwardingObstacles('br0', { netns: host })).toHaveLength(1);
  },
  60_000,
);
