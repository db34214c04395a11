import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AddressPool, BridgeNetwork, link, NetNamespace, NetNamespacePool } from '@ns/netns';
import type { Benchmark, Table } from './benchmark.ts';
import { median } from './percentiles.ts';
import { TimedCommand } from './timed-command.ts';

const ROUNDS = 40;
const CROWD = 500;
const TARGET = 0.2;

// One container's network as a shell script: a program for every step, and the fewest programs that can do it.
const eachStep = `set -e
ip netns add c
ip link add v type veth peer name eth0 netns c
ip link set v master bench0 up
ip link set v type bridge_slave hairpin on
ip -n c link set lo up
ip -n c address add 10.91.0.2/16 dev eth0
ip -n c link set eth0 up
ip -n c route add default via 10.91.0.1
nft add element ip bench ports '{ tcp . 8080 : 10.91.0.2 . 80 }'
`;
const batched = `set -e
ip netns add c
ip -batch - <<END
link add v type veth peer name eth0 netns c
link set v master bench0 up
link set v type bridge_slave hairpin on
END
ip -n c -batch - <<END
link set lo up
address add 10.91.0.2/16 dev eth0
link set eth0 up
route add default via 10.91.0.1
END
nft add element ip bench ports '{ tcp . 8080 : 10.91.0.2 . 80 }'
`;
const removal = `set -e
nft delete element ip bench ports '{ tcp . 8080 }'
ip link del v
ip netns del c
`;
// The bridge plugin of CNI and netavark of podman want a namespace that somebody else made. The plugin publishes no port.
const cni = (verb: 'ADD' | 'DEL'): string =>
  `CNI_COMMAND=${verb} CNI_CONTAINERID=c CNI_NETNS=/run/netns/c CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni /usr/lib/cni/bridge < cni.json > /dev/null\n`;
const netavark = (verb: 'setup' | 'teardown'): string =>
  `/usr/lib/podman/netavark --config $PWD/netavark ${verb} /run/netns/c < netavark.json > /dev/null\n`;
const peerFiles = (directory: string): Readonly<Record<string, unknown>> => ({
  'cni.json': {
    cniVersion: '0.4.0',
    name: 'bench',
    type: 'bridge',
    bridge: 'bench1',
    isGateway: true,
    ipMasq: true,
    hairpinMode: true,
    ipam: { type: 'host-local', subnet: '10.93.0.0/16', dataDir: join(directory, 'cni') },
  },
  'netavark.json': {
    container_id: 'c0ffee',
    container_name: 'c',
    port_mappings: [{ host_ip: '', container_port: 80, host_port: 8081, range: 1, protocol: 'tcp' }],
    networks: { bench: { interface_name: 'eth0', static_ips: ['10.94.0.2'] } },
    network_info: {
      bench: {
        name: 'bench',
        id: 'c0ffee'.padEnd(64, '0'),
        driver: 'bridge',
        network_interface: 'bench2',
        subnets: [{ subnet: '10.94.0.0/16', gateway: '10.94.0.1' }],
        ipv6_enabled: false,
        internal: false,
        dns_enabled: false,
        ipam_options: { driver: 'host-local' },
      },
    },
  },
});
const preparation = `set -e
ip link add bench0 type bridge
ip address add 10.91.0.1/16 dev bench0
ip link set bench0 up
nft add table ip bench
nft add map ip bench ports '{ type inet_proto . inet_service : ipv4_addr . inet_service; }'
`;

/** The network of one container beside scripts of ip and nft that make the same, and many containers on one bridge. */
export const benchmark: Benchmark = {
  title: 'Network of one container',
  async run() {
    // State is kept in /run by default, which is a tmpfs on most machines but not on all.
    const directory = mkdtempSync('/dev/shm/ns-bench-network-');
    // A host of its own: neither the rules nor the links of this machine take part.
    await using host = await NetNamespace.create();
    try {
      await using network = await BridgeNetwork.create({
        name: 'bench',
        subnet: '10.90.0.0/16',
        ipv6: 'none',
        netns: host,
        stateRoot: directory,
        upstreams: [],
      });
      const life = await lifeTable(host, network, directory);
      const steps = await stepsTable(network);
      const crowd = await crowdTable(network);
      return {
        tables: [life.table, steps, crowd, addressTable(directory)],
        targets: life.ratios.map(([name, measured]) => ({
          what: `making it, as a multiple of: ${name}`,
          limit: TARGET,
          measured,
        })),
        notes: [
          'Made: network namespace with lo up, veth into a bridge with hairpin, address, default route, one published port.',
          'The targets are for a namespace that is ready, as Network of @ns/core keeps one while a network is open: the kernel makes it in a quiet moment before. The peers begin without one.',
          'Ours also leases the address on disk, writes a record, and listens on the port of the host so that nobody else can have it.',
          `Ours has made ${ROUNDS} networks before that are not counted: a process that lives long has its code compiled. The peers are new programs each time.`,
          '60 ms pass before each: the kernel takes network namespaces apart in the background, and holds a lock meanwhile that everybody needs.',
          'What nsenter and sh take alone is taken off the scripts before the ratio.',
          'Removing a link waits for RCU grace periods in the kernel whoever asks; ours waits on another thread.',
        ],
      };
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
};

/** Somebody who makes the network of one container, and takes it away. */
interface Maker {
  readonly name: string;
  readonly make: string;
  readonly remove: string;
}

const makers: readonly Maker[] = [
  { name: 'ip and nft, a program for each step', make: eachStep, remove: removal },
  { name: 'ip -batch and nft, the fewest programs', make: batched, remove: removal },
  ...(existsSync('/usr/lib/cni/bridge')
    ? [
        {
          name: 'CNI bridge plugin, without the port',
          make: `set -e\nip netns add c\n${cni('ADD')}`,
          remove: `${cni('DEL')}ip netns del c\n`,
        },
      ]
    : []),
  ...(existsSync('/usr/lib/podman/netavark')
    ? [
        {
          name: 'netavark',
          make: `set -e\nip netns add c\n${netavark('setup')}`,
          remove: `${netavark('teardown')}ip netns del c\n`,
        },
      ]
    : []),
];

async function lifeTable(
  host: NetNamespace,
  network: BridgeNetwork,
  directory: string,
): Promise<{ table: Table; ratios: readonly (readonly [name: string, ratio: number])[] }> {
  // ip netns pins what it makes; in a mount namespace of the scripts' own nothing of that stays.
  using mounts = new Holder(['unshare', '--mount', 'sleep', 'infinity']);
  const script = (name: string, text: string): string[] => {
    const path = join(directory, name);
    writeFileSync(path, `cd ${directory}\n${text}`);
    return [
      '/usr/bin/nsenter',
      `--net=/proc/${process.pid}/fd/${host.fd}`,
      `--mount=/proc/${mounts.pid}/ns/mnt`,
      '/bin/sh',
      path,
    ];
  };
  await mounts.ready();
  for (const [name, content] of Object.entries(peerFiles(directory)))
    writeFileSync(join(directory, name), JSON.stringify(content));
  const [program, ...rest] = script('prepare.sh', preparation);
  execFileSync(program!, rest);
  const commands: TimedCommand[] = [];
  const timed = (name: string, text: string): TimedCommand => {
    const command = new TimedCommand(script(name, text));
    commands.push(command);
    return command;
  };
  const peers = makers.map(({ name, make, remove }, index) => ({
    name,
    make: timed(`make-${index}.sh`, make),
    remove: timed(`remove-${index}.sh`, remove),
    made: [] as number[],
    removed: [] as number[],
  }));
  const nothing = timed('nothing.sh', ':\n');
  const ours = { made: [] as number[], pooled: [] as number[], removed: [] as number[] };
  using pool = NetNamespacePool.create({ size: 1 });
  await warmUp(network);
  const frames: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await settle();
    const begin = performance.now();
    const netns = await NetNamespace.create();
    await network.connect({ owner: `life-${round}`, netns, ports: ['8080:80'] });
    const connected = performance.now();
    await network.disconnect(`life-${round}`);
    netns.close();
    ours.made.push(connected - begin);
    ours.removed.push(performance.now() - connected);
    await settle();
    const beginWithPool = performance.now();
    const ready = await pool.take();
    await network.connect({ owner: `pool-${round}`, netns: ready, ports: ['8080:80'] });
    ours.pooled.push(performance.now() - beginWithPool);
    await network.disconnect(`pool-${round}`);
    ready.close();
    for (const { make, remove, made, removed } of peers) {
      await settle();
      made.push(...(await make.measure(1)).runsMs);
      removed.push(...(await remove.measure(1)).runsMs);
    }
    frames.push(...(await nothing.measure(1)).runsMs);
  }
  for (const command of commands) command[Symbol.dispose]();
  const frame = median(frames);
  const own = ({ made }: (typeof peers)[number]) => median(made) - frame;
  return {
    table: {
      title: `Made and removed, milliseconds, median of ${ROUNDS}, in alternation`,
      columns: [
        { label: 'by' },
        { label: 'made' },
        { label: 'removed' },
        { label: 'ours is, of it' },
        { label: 'ours with a namespace ready is' },
      ],
      rows: [
        ['@ns/netns', median(ours.made), median(ours.removed), undefined, undefined],
        ['@ns/netns, a namespace ready', median(ours.pooled), undefined, undefined, undefined],
        ...peers.map((peer) => [
          peer.name,
          median(peer.made),
          median(peer.removed),
          median(ours.made) / own(peer),
          median(ours.pooled) / own(peer),
        ]),
        ['nsenter and sh alone', frame, undefined, undefined, undefined],
      ],
    },
    ratios: peers.map((peer) => [peer.name, median(ours.pooled) / own(peer)]),
  };
}

/** What runs for long has its code compiled; programs written in C begin that way. */
async function warmUp(network: BridgeNetwork): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    using netns = await NetNamespace.create();
    await network.connect({ owner: `warm-${round}`, netns, ports: ['8080:80'] });
    await network.disconnect(`warm-${round}`);
  }
}

/** The kernel takes a network namespace apart in the background, holding the lock everybody needs. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 60));
}

/** A process that keeps a namespace alive. */
class Holder implements Disposable {
  readonly #process: ChildProcess;

  constructor([program, ...args]: readonly [string, ...string[]]) {
    this.#process = spawn(program, args, { stdio: 'ignore' });
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** Settles when it lives in another mount namespace than we do. */
  async ready(): Promise<void> {
    const own = readlinkSync('/proc/self/ns/mnt');
    while (readlinkSync(`/proc/${this.pid}/ns/mnt`) === own) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  [Symbol.dispose](): void {
    this.#process.kill('SIGKILL');
  }
}

async function stepsTable(network: BridgeNetwork): Promise<Table> {
  const samples: Record<string, number[]> = {};
  const timed = async <Result>(step: string, action: () => Promise<Result>): Promise<Result> => {
    const begin = performance.now();
    const result = await action();
    samples[step] ??= [];
    samples[step].push(performance.now() - begin);
    return result;
  };
  for (let round = 0; round < ROUNDS; round++) {
    await settle();
    const netns = await timed('make a network namespace, lo up', () => NetNamespace.create());
    await timed('connect', () => network.connect({ owner: `step-${round}`, netns }));
    await timed('disconnect', () => network.disconnect(`step-${round}`));
    await timed('connect with a published port', () =>
      network.connect({ owner: `port-${round}`, netns, ports: ['8080:80'] }),
    );
    await timed('disconnect with a published port', () => network.disconnect(`port-${round}`));
    await timed('list links', () => link.list({ netns }));
    netns.close();
  }
  return {
    title: `Steps, microseconds, median of ${ROUNDS}`,
    columns: [{ label: 'step' }, { label: 'µs', decimals: 0 }],
    rows: Object.entries(samples).map(([step, values]) => [step, 1000 * median(values)]),
  };
}

async function crowdTable(network: BridgeNetwork): Promise<Table> {
  const begin = performance.now();
  const namespaces: NetNamespace[] = [];
  for (let index = 0; index < CROWD; index++) {
    const netns = await NetNamespace.create();
    namespaces.push(netns);
    await network.connect({ owner: `crowd-${index}`, netns });
  }
  const connected = performance.now();
  for (let index = 0; index < CROWD; index++) await network.disconnect(`crowd-${index}`);
  for (const netns of namespaces) netns.close();
  const gone = performance.now();
  return {
    title: `${CROWD} containers on one bridge at once`,
    columns: [
      { label: 'all connected, ms', decimals: 0 },
      { label: 'all disconnected, ms', decimals: 0 },
    ],
    rows: [[connected - begin, gone - connected]],
  };
}

function addressTable(directory: string): Table {
  const pool = AddressPool.open({ name: 'addresses', subnet: '10.92.0.0/16', stateRoot: directory });
  const begin = performance.now();
  for (let index = 0; index < 1000; index++) pool.allocate(`owner-${index}`);
  const took = performance.now() - begin;
  pool.remove();
  return {
    title: '1,000 addresses leased on disk',
    columns: [
      { label: 'ms', decimals: 0 },
      { label: 'µs each', decimals: 0 },
    ],
    rows: [[took, took]],
  };
}
