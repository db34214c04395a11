import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AddressPool, BridgeNetwork, link, NetNamespace } from '@ns/netns';
import type { Benchmark, Table } from './benchmark.ts';
import { median } from './percentiles.ts';
import { TimedCommand } from './timed-command.ts';

const ROUNDS = 60;
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
        targets: [
          {
            what: 'making it, as a multiple of the script with the fewest programs',
            limit: TARGET,
            measured: life.ratio,
          },
        ],
        notes: [
          'Made: network namespace with lo up, veth into a bridge with hairpin, address, default route, one published port.',
          'Ours also leases the address on disk, writes a record, and listens on the port of the host so that nobody else can have it.',
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

async function lifeTable(
  host: NetNamespace,
  network: BridgeNetwork,
  directory: string,
): Promise<{ table: Table; ratio: number }> {
  // ip netns pins what it makes; in a mount namespace of the scripts' own nothing of that stays.
  using mounts = new Holder(['unshare', '--mount', 'sleep', 'infinity']);
  const script = (name: string, text: string): string[] => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return [
      '/usr/bin/nsenter',
      `--net=/proc/${process.pid}/fd/${host.fd}`,
      `--mount=/proc/${mounts.pid}/ns/mnt`,
      '/bin/sh',
      path,
    ];
  };
  await mounts.ready();
  const [program, ...rest] = script('prepare.sh', preparation);
  execFileSync(program!, rest);
  using steps = new TimedCommand(script('each-step.sh', eachStep));
  using fewest = new TimedCommand(script('batched.sh', batched));
  using nothing = new TimedCommand(script('nothing.sh', ':\n'));
  using remove = new TimedCommand(script('remove.sh', removal));
  const samples = {
    ours: [] as number[],
    steps: [] as number[],
    fewest: [] as number[],
    nothing: [] as number[],
    oursRemoved: [] as number[],
    removed: [] as number[],
  };
  for (let round = 0; round < ROUNDS; round++) {
    await settle();
    const begin = performance.now();
    const netns = await NetNamespace.create();
    await network.connect({ owner: `life-${round}`, netns, ports: ['8080:80'] });
    const connected = performance.now();
    await network.disconnect(`life-${round}`);
    netns.close();
    samples.ours.push(connected - begin);
    samples.oursRemoved.push(performance.now() - connected);
    await settle();
    samples.steps.push(...(await steps.measure(1)).runsMs);
    samples.removed.push(...(await remove.measure(1)).runsMs);
    await settle();
    samples.fewest.push(...(await fewest.measure(1)).runsMs);
    samples.removed.push(...(await remove.measure(1)).runsMs);
    samples.nothing.push(...(await nothing.measure(1)).runsMs);
  }
  const frame = median(samples.nothing);
  return {
    table: {
      title: `Made and removed, milliseconds, median of ${ROUNDS}, in alternation`,
      columns: [{ label: 'by' }, { label: 'made' }, { label: 'removed' }],
      rows: [
        ['@ns/netns', median(samples.ours), median(samples.oursRemoved)],
        ['ip and nft, a program for each step', median(samples.steps), median(samples.removed)],
        ['ip -batch and nft, the fewest programs', median(samples.fewest), undefined],
        ['nsenter and sh alone', frame, undefined],
      ],
    },
    ratio: median(samples.ours) / (median(samples.fewest) - frame),
  };
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
