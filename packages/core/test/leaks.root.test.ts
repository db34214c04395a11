import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { eventually, needs, notRoot, processEntries, processesInNamespace } from '@ns/testing';
import { Container, run } from '../src/index.ts';
import { cgroupDirectories, commandOf, leavesNothing, remaining, useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* No process, mount, descriptor, cgroup, directory or zombie stays, however things end. */

const rootTest = needs(notRoot);
const root = useOwnStateRoot();
let owner: NodeProgram;
beforeAll(() => {
  owner = new NodeProgram('owner');
});
afterAll(() => owner[Symbol.dispose]());

rootTest(
  '1,000 runs one after the other',
  () =>
    leavesNothing(async () => {
      for (let i = 0; i < 1000; i++) expect((await run('/bin/true')).exitCode).toBe(0);
    }),
  120_000,
);

rootTest('what can be released is, also when something else cannot', () =>
  leavesNothing(async () => {
    const sleeping = run('sh', ['-c', 'read line'], { stdin: 'pipe', idMap: 'auto', limits: { pids: 20 } });
    await sleeping.started;
    const directories = cgroupDirectories(sleeping.pid!);
    expect(directories).not.toEqual([]);
    const leases = join(root.path, 'ids');
    // Leases that others could write are not touched.
    chmodSync(leases, 0o777);
    sleeping.stdin.end('go\n');
    await expect(sleeping).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: 'stateDir' });
    chmodSync(leases, 0o700);
    expect(remaining(directories)).toEqual([]);
  }),
);

rootTest(
  '200 runs at once, with limits',
  () =>
    leavesNothing(async () => {
      const all = Array.from({ length: 200 }, (_, i) =>
        run('sh', ['-c', `read line; exit ${i % 100}`], { stdin: 'pipe', limits: { memory: '64MiB' } }),
      );
      await Promise.all(all.map(({ started }) => started));
      const directories = all.flatMap(({ pid }) => cgroupDirectories(pid!));
      expect(directories.length).toBeGreaterThanOrEqual(200);
      for (const { stdin } of all) stdin.end('go\n');
      expect((await Promise.all(all)).map(({ exitCode }) => exitCode)).toEqual(all.map((_, i) => i % 100));
      expect(remaining(directories)).toEqual([]);
    }),
  120_000,
);

rootTest(
  '100 containers that are killed at any moment',
  () =>
    leavesNothing(async () => {
      const directories: string[] = [];
      await Promise.all(
        Array.from({ length: 100 }, async (_, i) => {
          const container = await Container.create({ command: ['sleep', '600'] });
          directories.push(...cgroupDirectories(container.pid!));
          if (i % 3 > 0) await container.start();
          if (i % 3 > 1) container.exec('sleep', ['600']).catch(() => {});
          await container.remove({ force: true });
        }),
      );
      expect(remaining(directories)).toEqual([]);
    }),
  120_000,
);

rootTest(
  "on the pid namespace of the host, who survives the program is gone before the owner's turn, which may never come",
  () =>
    leavesNothing(async () => {
      const seconds = `600.${process.pid}`;
      await using container = await Container.create({
        command: ['sh', '-c', `setsid sleep ${seconds} & exec sleep 600`],
        namespaces: { pid: 'host' },
      });
      await container.start();
      const isAsleep = () =>
        processEntries().some(({ pid, state }) => state !== 'Z' && commandOf(pid) === `sleep ${seconds}`);
      expect(await eventually(isAsleep)).toBe(true);
      const program = () => processEntries().find(({ parent, name }) => parent === container.pid && name === 'sleep');
      expect(await eventually(() => program() !== undefined)).toBe(true);
      process.kill(program()!.pid, 'SIGKILL');
      // From here to the end the owner does nothing but look: no event reaches him.
      for (const end = Date.now() + 10_000; isAsleep() && Date.now() < end; );
      expect(isAsleep()).toBe(false);
    }),
);

describe('when the owner of 50 containers', () => {
  for (const [how, mode, end] of [
    ['is killed by SIGKILL', 'containers', (child: ChildProcess) => child.kill('SIGKILL')],
    ['calls process.exit', 'containers', (child: ChildProcess) => child.stdin!.write('exit\n')],
    ['was a worker thread that is terminated', 'worker', (child: ChildProcess) => child.stdin!.write('terminate\n')],
  ] as const) {
    rootTest(
      `${how}, all of it is gone a second later`,
      async () => {
        const child = owner.start([mode, '50']);
        try {
          const lines = createInterface(child.stdout as Readable)[Symbol.asyncIterator]();
          const pids = JSON.parse((await lines.next()).value) as number[];
          expect(pids.filter(Number.isInteger)).toHaveLength(50);
          const namespaces = pids.map((pid) => readlinkSync(`/proc/${pid}/ns/pid`));
          const directories = pids.flatMap(cgroupDirectories);
          const ended = mode === 'worker' ? lines.next() : once(child, 'exit');
          end(child);
          await ended;
          expect(
            await eventually(() => namespaces.every((name) => processesInNamespace('pid', name).length === 0)),
          ).toBe(true);
          expect(await eventually(() => remaining(directories).length === 0)).toBe(true);
        } finally {
          child.kill('SIGKILL');
        }
      },
      60_000,
    );
  }
});

rootTest('another process sees the containers of this one', async () => {
  await leavesNothing(async () => {
    const container = await Container.create({ command: ['sleep', '600'] });
    await container.start();
    const { stdout } = await owner.run(['list']);
    expect(JSON.parse(stdout)).toEqual([[container.id, 'running']]);
    await container.remove({ force: true });
    expect(JSON.parse((await owner.run(['list'])).stdout)).toEqual([]);
    expect(existsSync(`${process.env.NS_STATE_ROOT}/containers/${container.id}`)).toBe(false);
  });
});
