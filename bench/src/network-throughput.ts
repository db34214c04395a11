import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { address, BridgeNetwork, link, NetNamespace, route } from '@ns/netns';
import type { Benchmark } from './benchmark.ts';
import { median } from './percentiles.ts';

const ROUNDS = 5;
const SECONDS = '1';
const OUTSIDE = '198.51.100.2';

/** What docker makes of a bridge network, in nft's words. */
const dockerLike = `
add table ip plain
add chain ip plain forward { type filter hook forward priority filter; policy drop; }
add rule ip plain forward oifname "plain0" ct state related,established accept
add rule ip plain forward iifname "plain0" accept
add rule ip plain forward ct status dnat accept
add chain ip plain pre { type nat hook prerouting priority dstnat; }
add rule ip plain pre fib daddr type local tcp dport 8081 dnat to 10.96.0.2:5201
add chain ip plain post { type nat hook postrouting priority srcnat; }
add rule ip plain post ip saddr 10.96.0.0/16 oifname != "plain0" masquerade
`;

interface Figures {
  readonly out: number[];
  readonly into: number[];
  readonly latency: number[];
}

/** Traffic of a container through veth, bridge and NAT beside the same made by hand as docker makes it. */
export const benchmark: Benchmark = {
  title: 'Traffic of one container',
  async run() {
    const directory = mkdtempSync('/dev/shm/ns-bench-traffic-');
    const running: ChildProcess[] = [];
    try {
      // Each has a host of its own: rules of one would cost the other's packets time.
      await using ours = await ourSide(directory);
      await using plain = await plainSide();
      const sides = [
        { name: '@ns/netns', side: ours, port: '8080', figures: noFigures() },
        { name: 'ip and nft, as docker does it', side: plain, port: '8081', figures: noFigures() },
      ];
      for (const { side } of sides)
        for (const netns of [side.container, side.outside]) running.push(await serve(netns));
      for (let round = 0; round < ROUNDS; round++)
        for (const { side, port, figures } of sides) {
          figures.out.push(gigabits(side.container, OUTSIDE, '5201'));
          figures.into.push(gigabits(side.outside, '198.51.100.1', port));
          figures.latency.push(latencyUs(side.container));
        }
      return {
        tables: [
          {
            title: `Medians of ${ROUNDS}, in alternation; TCP for ${SECONDS} s each`,
            columns: [
              { label: 'made by' },
              { label: 'out through masquerade, Gbit/s', decimals: 1 },
              { label: 'in through a published port, Gbit/s', decimals: 1 },
              { label: 'round trip, µs', decimals: 0 },
            ],
            rows: sides.map(({ name, figures }) => [
              name,
              median(figures.out),
              median(figures.into),
              median(figures.latency),
            ]),
          },
        ],
        notes: ['Sender, receiver and both directions of the kernel share the processors of this machine.'],
      };
    } finally {
      for (const child of running) child.kill('SIGKILL');
      rmSync(directory, { recursive: true });
    }
  },
};

function noFigures(): Figures {
  return { out: [], into: [], latency: [] };
}

interface Side extends AsyncDisposable {
  readonly container: NetNamespace;
  readonly outside: NetNamespace;
}

async function hostAndOutside(): Promise<{ host: NetNamespace; outside: NetNamespace; container: NetNamespace }> {
  const [host, outside, container] = [
    await NetNamespace.create(),
    await NetNamespace.create(),
    await NetNamespace.create(),
  ];
  await link.createVeth({ name: 'eth0', netns: host, up: true, peer: { name: 'eth0', netns: outside, up: true } });
  await address.add('eth0', '198.51.100.1/24', { netns: host });
  await address.add('eth0', `${OUTSIDE}/24`, { netns: outside });
  return { host, outside, container };
}

async function ourSide(stateRoot: string): Promise<Side> {
  const { host, outside, container } = await hostAndOutside();
  const network = await BridgeNetwork.create({
    name: 'bench',
    subnet: '10.95.0.0/16',
    ipv6: 'none',
    netns: host,
    stateRoot,
    upstreams: [],
  });
  await network.connect({ owner: 'c', netns: container, ports: ['8080:5201'] });
  return {
    container,
    outside,
    async [Symbol.asyncDispose]() {
      await network.remove();
      for (const netns of [container, outside, host]) netns.close();
    },
  };
}

async function plainSide(): Promise<Side> {
  const { host, outside, container } = await hostAndOutside();
  await link.createBridge({ name: 'plain0', netns: host, up: true });
  await address.add('plain0', '10.96.0.1/16', { netns: host });
  const peer = { name: 'eth0', netns: container, up: true };
  await link.createVeth({ name: 'plain1', netns: host, master: 'plain0', up: true, peer });
  await address.add('eth0', '10.96.0.2/16', { netns: container });
  await route.add({ to: 'default', via: '10.96.0.1', netns: container });
  execFileSync(...inside(host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1'));
  execFileSync(...inside(host, 'nft', dockerLike));
  return {
    container,
    outside,
    async [Symbol.asyncDispose]() {
      for (const netns of [container, outside, host]) netns.close();
    },
  };
}

function inside(netns: NetNamespace, ...command: string[]): [string, string[]] {
  return ['nsenter', [`--net=/proc/${process.pid}/fd/${netns.fd}`, ...command]];
}

async function serve(netns: NetNamespace): Promise<ChildProcess> {
  const child = spawn(...inside(netns, 'iperf3', '--server', '--forceflush'), { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'data');
  return child;
}

function gigabits(from: NetNamespace, to: string, port: string): number {
  const [file, args] = inside(from, 'iperf3', '--json', '--client', to, '--port', port, '--time', SECONDS);
  const { end } = JSON.parse(execFileSync(file, args, { encoding: 'utf8' })) as {
    end: { sum_received: { bits_per_second: number } };
  };
  return end.sum_received.bits_per_second / 1e9;
}

function latencyUs(from: NetNamespace): number {
  const [file, args] = inside(from, 'ping', '-q', '-i', '0.002', '-c', '100', OUTSIDE);
  const text = execFileSync(file, args, { encoding: 'utf8' });
  return 1000 * Number(/= [\d.]+\/([\d.]+)\//.exec(text)![1]);
}
