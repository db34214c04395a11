import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { Cgroup, detectCgroups, type StatsOptions } from '@ns/cgroups';
import type { Benchmark, Findings, Table } from './benchmark.ts';
import { makeBundle } from './oci-bundle.ts';
import { median } from './percentiles.ts';
import { TimedCommand } from './timed-command.ts';

const ROUNDS = 30;
const COUNTS = [1, 100, 1_000];

const limits = { memory: { max: '64MiB', swapMax: 0 }, pids: { max: 64 }, cpu: { max: 0.5 } };
const account = ['io', 'cpuacct'] as const;

/** A cgroup's life beside cgroup-tools and crun, and the numbers of up to a thousand cgroups. */
export const benchmark: Benchmark = {
  title: 'Cgroups',
  async run() {
    const life = await lifeTable();
    const steps = await stepsTable();
    const [stats, thousand] = await statsTable();
    return {
      tables: [life.table, steps, stats],
      targets: [
        { what: 'a life in a cgroup, as a multiple of cgroup-tools', limit: 1, measured: life.ratio },
        { what: 'the numbers of 1,000 cgroups, ms', limit: 250, measured: thousand.allMs },
        { what: 'cpu and processes of 1,000 cgroups, ms', limit: 50, measured: thousand.fewMs },
      ],
      notes: [
        'A life: create, three limits, a shell that joins before it runs true, numbers, removal. cgroup-tools need five programs for it.',
        "crun's share is what crun run takes with cgroups, less what it takes with --cgroup-manager=disabled: without limits and numbers.",
        'The first process to be moved waits for an RCU grace period; moves that follow soon do not. "Spaced" lets 100 ms pass before each.',
      ],
    } satisfies Findings;
  },
};

interface Contender {
  readonly who: string;
  run(name: string): unknown;
}

async function ours(name: string): Promise<void> {
  await using cg = await Cgroup.create(name, limits);
  const join = cg.paths.map((path) => `echo 0 > ${path}/cgroup.procs`).join(' && ');
  await once(spawn('sh', ['-c', `${join} && exec true`], { stdio: 'ignore' }), 'exit');
  await cg.stats();
}

const treesOfTools = 'memory,pids,cpu';
const quota = detectCgroups().mode === 'v2' ? ['-r', 'cpu.max=50000 100000'] : ['-r', 'cpu.cfs_quota_us=50000'];
const maximum = detectCgroups().mode === 'v2' ? 'memory.max' : 'memory.limit_in_bytes';

function cgroupTools(name: string): void {
  const group = `${treesOfTools}:${name}`;
  execFileSync('cgcreate', ['-g', group]);
  execFileSync('cgset', ['-r', `${maximum}=67108864`, '-r', 'pids.max=64', ...quota, name]);
  execFileSync('cgexec', ['-g', group, 'true']);
  execFileSync('cgget', ['-g', treesOfTools, name]);
  execFileSync('cgdelete', ['-g', group]);
}

async function lifeTable(): Promise<{ table: Table; ratio: number }> {
  const installed = spawnSync('cgcreate', ['-h']).error === undefined;
  const contenders: Contender[] = [
    { who: '@ns/cgroups', run: (name) => ours(name) },
    { who: 'spawn of sh alone', run: () => once(spawn('sh', ['-c', 'exec true'], { stdio: 'ignore' }), 'exit') },
    ...(installed ? [{ who: 'cgcreate, cgset, cgexec, cgget, cgdelete', run: cgroupTools }] : []),
  ];
  const samples = { together: new Map<Contender, number[]>(), spaced: new Map<Contender, number[]>() };
  for (const [pace, pauseMs] of [
    ['together', 0],
    ['spaced', 100],
  ] as const) {
    for (let round = 0; round < ROUNDS; round++) {
      for (const contender of contenders) {
        if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
        const begin = performance.now();
        await contender.run(`bench-${process.pid}-${round}`);
        samples[pace].set(contender, [...(samples[pace].get(contender) ?? []), performance.now() - begin]);
      }
    }
  }
  const rows: (string | number | undefined)[][] = contenders.map((contender) => [
    contender.who,
    median(samples.together.get(contender)!),
    median(samples.spaced.get(contender)!),
  ]);
  const crun = await crunShare();
  if (crun !== undefined) rows.push(["crun's share of crun run", crun, undefined]);
  const [first, , tools] = rows;
  return {
    table: {
      title: `One life, milliseconds, median of ${ROUNDS}`,
      columns: [{ label: 'by' }, { label: 'one after the other' }, { label: 'spaced' }],
      rows,
    },
    ratio: tools ? (first![1] as number) / (tools[1] as number) : 0,
  };
}

// crun 1.8.1 takes a hybrid layout for a broken one when the v2 tree has a controller of its own.
const unifiedControllers = '/sys/fs/cgroup/unified/cgroup.controllers';

async function crunShare(): Promise<number | undefined> {
  if (spawnSync('crun', ['--version']).error) return undefined;
  const hidden = existsSync(unifiedControllers) ? { hideFile: unifiedControllers } : {};
  const run = ['run', '--bundle', makeBundle(), `bench-cgroup-${process.pid}-%d`];
  using withCgroups = new TimedCommand(['/usr/bin/crun', ...run], hidden);
  using without = new TimedCommand(['/usr/bin/crun', '--cgroup-manager=disabled', ...run], hidden);
  const [a, b] = [await withCgroups.measure(ROUNDS), await without.measure(ROUNDS)];
  return median(a.runsMs) - median(b.runsMs);
}

async function stepsTable(): Promise<Table> {
  const samples: Record<string, number[]> = { 'create with limits': [], stats: [], 'kill (empty)': [], remove: [] };
  const timed = async (step: string, action: () => Promise<unknown>): Promise<void> => {
    const begin = performance.now();
    await action();
    samples[step]!.push(performance.now() - begin);
  };
  for (let round = 0; round < 10 * ROUNDS; round++) {
    let cg: Cgroup | undefined;
    await timed('create with limits', async () => {
      cg = await Cgroup.create(`bench-${process.pid}`, limits);
    });
    await timed('stats', () => cg!.stats());
    await timed('kill (empty)', () => cg!.kill());
    await timed('remove', () => cg!.remove());
    cg!.close();
  }
  return {
    title: `Its steps in ${detectCgroups().mode} mode, microseconds, median of ${10 * ROUNDS}`,
    columns: [{ label: 'step' }, { label: 'µs', decimals: 0 }],
    rows: Object.entries(samples).map(([step, values]) => [step, 1_000 * median(values)]),
  };
}

const few = ['cpu', 'pids'] as const;

async function statsTable(): Promise<[Table, { allMs: number; fewMs: number }]> {
  const cgroups: Cgroup[] = [];
  const rows: number[][] = [];
  try {
    for (const count of COUNTS) {
      while (cgroups.length < count) {
        cgroups.push(await Cgroup.create(`bench-${process.pid}/${cgroups.length}`, limits, { account }));
      }
      const all = await passes(cgroups, {});
      rows.push([count, all, (1_000 * all) / count, await passes(cgroups, { only: few })]);
    }
  } finally {
    for (const cg of cgroups) await cg[Symbol.asyncDispose]();
  }
  const table = {
    title: 'Numbers of many cgroups, all of them in one pass: cpu, memory, swap, io, pids, pressure',
    columns: [
      { label: 'cgroups', decimals: 0 },
      { label: 'ms' },
      { label: 'µs each', decimals: 0 },
      { label: `only ${few.join(' and ')}, ms` },
    ],
    rows,
  };
  const [, allMs, , fewMs] = rows.at(-1)!;
  return [table, { allMs: allMs!, fewMs: fewMs! }];
}

/** Milliseconds of a pass, median of ten, after one that opens the files. */
async function passes(cgroups: readonly Cgroup[], options: StatsOptions): Promise<number> {
  const taken: number[] = [];
  for (let pass = 0; pass <= 10; pass++) {
    const begin = performance.now();
    for (const cg of cgroups) await cg.stats(options);
    if (pass > 0) taken.push(performance.now() - begin);
  }
  return median(taken);
}
