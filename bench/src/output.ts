import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { Container, run } from '@ns/core';
import type { Benchmark } from './benchmark.ts';
import { median } from './percentiles.ts';

const BYTES = 2 ** 30;
const ROUNDS = 3;
const command = ['head', '-c', String(BYTES), '/dev/zero'] as const;

/** What was read, how fast, and how much this process grew by it. */
interface Transfer {
  readonly gigabytesPerSecond: number;
  readonly growthMiB: number;
}

/** A gigabyte through a command's standard output. */
export const benchmark: Benchmark = {
  title: 'A gigabyte through standard output',
  async run() {
    await using container = await Container.create({ command: ['sleep', '600'] });
    await container.start();
    const [program, ...args] = command;
    const ways: Readonly<Record<string, () => Promise<void>>> = {
      'child_process.spawn(), stdout read': async () => {
        const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
        await Promise.all([readAll(child.stdout), success(child)]);
      },
      'run(), stdout read': async () => {
        const process = run(program, args, { buffer: false });
        await Promise.all([readAll(process.stdout), process]);
      },
      'run(), iterated': async () => {
        let read = 0;
        for await (const { data } of run(program, args, { buffer: false })) read += data.length;
        complete(read);
      },
      'run(), collected: maxOutput keeps the first 16 MiB': async () => {
        const { exitCode, truncated } = await run(program, args, { maxOutput: { bytes: '16MiB' }, encoding: 'buffer' });
        if (exitCode !== 0 || !truncated) throw new Error(`head ended with ${exitCode}`);
      },
      'exec(), stdout read': async () => {
        const process = container.exec(program, args, { buffer: false });
        await Promise.all([readAll(process.stdout), process]);
      },
    };
    const transfers = new Map<string, Transfer[]>(Object.keys(ways).map((name) => [name, []]));
    for (let round = 0; round < ROUNDS; round++)
      for (const [name, way] of Object.entries(ways)) transfers.get(name)!.push(await measure(way));
    const speed = (name: string) => median(transfers.get(name)!.map((one) => one.gigabytesPerSecond));
    const native = speed('child_process.spawn(), stdout read');
    const ours = Object.keys(ways).slice(1);
    const most = Math.max(...ours.flatMap((name) => transfers.get(name)!.map(({ growthMiB }) => growthMiB)));
    return {
      tables: [
        {
          title: `${BYTES / 2 ** 20} MiB of zeros from head(1), median of ${ROUNDS} rounds in alternation`,
          columns: [
            { label: '' },
            { label: 'GB/s' },
            { label: 'of child_process' },
            { label: 'growth of this process, MiB, most', decimals: 0 },
          ],
          rows: Object.keys(ways).map((name) => [
            name,
            speed(name),
            speed(name) / native,
            Math.max(...transfers.get(name)!.map(({ growthMiB }) => growthMiB)),
          ]),
        },
      ],
      targets: [
        {
          what: 'a gigabyte: time of child_process / of run()',
          limit: 1,
          measured: native / speed('run(), stdout read'),
        },
        { what: 'growth of memory by a gigabyte, MiB', limit: 64, measured: most },
      ],
      notes: [
        'Growth is that of the resident set, sampled every 20 ms, from just before the command. What is collected belongs to it.',
      ],
    };
  },
};

async function measure(act: () => Promise<void>): Promise<Transfer> {
  const before = process.memoryUsage.rss();
  let most = before;
  const sampling = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 20);
  const begin = performance.now();
  try {
    await act();
  } finally {
    clearInterval(sampling);
  }
  const seconds = (performance.now() - begin) / 1000;
  return { gigabytesPerSecond: BYTES / 1e9 / seconds, growthMiB: (most - before) / 2 ** 20 };
}

async function readAll(stream: Readable): Promise<void> {
  let read = 0;
  stream.on('data', (data: Buffer) => {
    read += data.length;
  });
  await once(stream, 'close');
  complete(read);
}

function complete(read: number): void {
  if (read !== BYTES) throw new Error(`${read} bytes of ${BYTES} arrived`);
}

async function success(child: ChildProcess): Promise<void> {
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`head ended with ${code}`);
}
