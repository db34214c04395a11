import { once } from 'node:events';
import { Agent, createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { needs, notRoot } from '@ns/testing';
import { Container, type ContainerProcess, Pool, run } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* Many at once in one process. How fast that is, bench/ tells; here everything has to be right. */

const rootTest = needs(notRoot);
useOwnStateRoot();

rootTest(
  '200 execs in parallel in one container',
  () =>
    leavesNothing(async () => {
      await using container = await Container.create({ command: ['sleep', '600'], limits: { pids: 1000 } });
      await container.start();
      const processes = Array.from({ length: 200 }, (_, i) =>
        // Each leaves a process behind, which has to be gone when it has ended.
        container.exec('sh', ['-c', `sleep 600 >/dev/null 2>&1 & read line; echo "$line ${i}"; exit ${i % 100}`], {
          stdin: `number\n`,
        }),
      );
      const results = await Promise.all(processes);
      expect(results.map(({ stdout, exitCode }) => `${stdout} ${exitCode}`)).toEqual(
        processes.map((_, i) => `number ${i}\n ${i % 100}`),
      );
      // Its own program, and the init in front of it.
      expect((await container.processes()).map(({ command }) => command)).toHaveLength(2);
    }),
  120_000,
);

describe('an HTTP server with 64 containers at once', () => {
  const ways: Readonly<Record<string, (pool: Pool) => Promise<{ process: ContainerProcess }>>> = {
    'of their own': async () => ({ process: run('cat', [], { stdin: 'pipe' }) }),
    'of a pool': async (pool) => ({ process: (await pool.acquire()).run('cat', [], { stdin: 'pipe' }) }),
  };
  for (const [how, start] of Object.entries(ways)) {
    rootTest(
      `${how}: each gets its answer, and the event loop goes on`,
      () =>
        leavesNothing(async () => {
          await using pool = await Pool.create({ size: 8 });
          let waiting: (() => void)[] = [];
          const server = createServer(async (request, response) => {
            // Not awaited: it would be its end that is awaited.
            const { process } = await start(pool);
            await process.started;
            waiting.push(() => process.stdin.end(request.url));
            if (waiting.length === 64) {
              for (const go of waiting) go();
              waiting = [];
            }
            response.end((await process).stdout);
          });
          server.listen(0, '127.0.0.1');
          await once(server, 'listening');
          const { port } = server.address() as AddressInfo;
          const agent = new Agent({ keepAlive: true, maxSockets: 64 });
          const delay = monitorEventLoopDelay({ resolution: 10 });
          delay.enable();
          const bodies = await Promise.all(Array.from({ length: 256 }, (_, i) => body({ port, agent, path: `/${i}` })));
          delay.disable();
          agent.destroy();
          server.close();
          await once(server, 'close');
          expect(bodies).toEqual(bodies.map((_, i) => `/${i}`));
          // Far above what it is, but less than if one request had to wait for all others. One that is held up with its
          // whole machine is none of many.
          expect(delay.percentile(75) / 1e6).toBeLessThan(1000);
        }),
      120_000,
    );
  }
});

function body(options: { port: number; agent: Agent; path: string }): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', ...options }, (response) => {
      let text = '';
      response.on('data', (data) => {
        text += data;
      });
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
}
