import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Pool, run } from '@ns/core';
import type { Benchmark } from './benchmark.ts';
import { percentile } from './percentiles.ts';
import type { LoadReport } from './server-load.ts';

const AT_ONCE = 64;
const REQUESTS = 512;

type Answer = () => Promise<string>;

/** What a request is answered with: the output of a command. */
const ways: Readonly<Record<string, (pool: Pool) => Answer>> = {
  'run()': () => async () => (await run('echo', ['hello'])).stdout,
  'pool.run()': (pool) => async () => (await pool.run('echo', ['hello'])).stdout,
  'child_process.spawn(), no container': () => async () => {
    const child = spawn('echo', ['hello'], { stdio: ['ignore', 'pipe', 'ignore'] });
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
    });
    await once(child, 'close');
    return output;
  },
};

/** A server that answers each request with the output of a container. */
export const benchmark: Benchmark = {
  title: `HTTP server with ${AT_ONCE} containers at once`,
  async run() {
    const pool = await Pool.create({ size: 16 });
    try {
      for (let i = 0; i < 100; i++) await run('/bin/true');
      const rows: (string | number)[][] = [];
      for (const [name, way] of Object.entries(ways)) {
        await pool.settled();
        await sleep(500);
        rows.push([name, ...(await underLoad(way(pool)))]);
      }
      return {
        tables: [
          {
            title: `${REQUESTS} requests, ${AT_ONCE} at a time, from another process over loopback`,
            columns: [
              { label: '' },
              { label: 'requests a second', decimals: 0 },
              { label: 'answer p50 ms', decimals: 0 },
              { label: 'answer p99 ms', decimals: 0 },
              { label: 'event loop delay p50 ms' },
              { label: 'p99 ms' },
              { label: 'most ms' },
            ],
            rows,
          },
        ],
        notes: [
          'Each request starts a container that runs `echo hello`; all answers were right. The delay of the event loop is by how much a timer of 1 ms comes late.',
        ],
      };
    } finally {
      await pool.close();
    }
  },
};

async function underLoad(answer: Answer): Promise<number[]> {
  const server = createServer((_, response) => {
    answer().then(
      (body) => response.end(body),
      (error) => {
        response.statusCode = 500;
        response.end(String(error));
      },
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const { seconds, answersMs } = await load((server.address() as AddressInfo).port);
  delay.disable();
  await closed(server);
  const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - 1);
  return [
    answersMs.length / seconds,
    percentile(answersMs, 0.5),
    percentile(answersMs, 0.99),
    late(delay.percentile(50)),
    late(delay.percentile(99)),
    late(delay.max),
  ];
}

/** The client is a process of its own: its work is none of the server's. */
async function load(port: number): Promise<LoadReport> {
  const program = fileURLToPath(new URL('server-load.js', import.meta.url));
  const client: ChildProcess = spawn(process.execPath, [program, String(port), String(REQUESTS), String(AT_ONCE)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  client.stdout!.on('data', (data) => {
    output += data;
  });
  const [code] = await once(client, 'close');
  if (code !== 0) throw new Error(`the client ended with ${code}`);
  return JSON.parse(output) as LoadReport;
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
}
