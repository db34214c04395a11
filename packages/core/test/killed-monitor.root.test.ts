import { eventually, needs, notRoot, processEntries } from '@ns/testing';
import { Container, type ContainerSpec, Pool, run } from '../src/index.ts';
import { cgroupDirectories, commandOf, leavesNothing, remaining, useOwnStateRoot } from './leaves-nothing.ts';

/* The monitor is a process like others: somebody, or the kernel short of memory, may kill it. Nothing of what it watched stays. */

const rootTest = needs(notRoot);
useOwnStateRoot();

// A program, and another that no longer knows it: both are told by the seconds they would sleep.
const seconds = `600.${process.pid}`;
const script = `(setsid sleep ${seconds} &); exec sleep ${seconds}`;
const killed = { exitCode: null, signal: 'SIGKILL' };

const sleepers = (): number =>
  processEntries().filter(({ pid, state }) => state !== 'Z' && commandOf(pid) === `sleep ${seconds}`).length;

/** Kills the monitor of a first process, when as many programs run as there shall be. */
async function killMonitorOf(pid: number, running = 2): Promise<void> {
  expect(await eventually(() => sleepers() === running)).toBe(true);
  const monitor = processEntries().find((entry) => entry.pid === pid)!.parent;
  expect(processEntries().find((entry) => entry.pid === monitor)).toMatchObject({ parent: process.pid });
  process.kill(monitor, 'SIGKILL');
}

afterEach(async () => {
  expect(await eventually(() => sleepers() === 0)).toBe(true);
});

for (const [what, spec] of [
  ['a container', {}],
  ['a container without an init', { init: false }],
  ['a container with limits and a health check', { limits: { pids: 50 }, health: { command: ['true'], interval: 20 } }],
  ['a container with ids of its own', { idMap: 'auto' }],
  ['a container on the pid namespace of the host', { namespaces: { pid: 'host' }, limits: { memory: '64MiB' } }],
] as const satisfies readonly (readonly [string, Partial<ContainerSpec>])[]) {
  rootTest(`${what}: it ends, can be started again, and leaves nothing`, () =>
    leavesNothing(async () => {
      const container = await Container.create({ command: ['sh', '-c', script], ...spec });
      for (let round = 0; round < 2; round++) {
        await container.start();
        const directories = cgroupDirectories(container.pid!);
        await killMonitorOf(container.pid!);
        expect(await container.wait({ timeout: 20_000 })).toMatchObject(killed);
        expect(container.status).toBe('stopped');
        expect(sleepers()).toBe(0);
        expect(remaining(directories)).toEqual([]);
      }
      await container.remove();
      expect(await Container.list()).toEqual([]);
    }),
  );
}

rootTest('run', () =>
  leavesNothing(async () => {
    const process = run('sh', ['-c', script], { limits: { memory: '64MiB' } });
    await process.started;
    const directories = cgroupDirectories(process.pid!);
    await killMonitorOf(process.pid!);
    expect(await process).toMatchObject(killed);
    expect(sleepers()).toBe(0);
    expect(remaining(directories)).toEqual([]);
  }),
);

rootTest('exec: the command ends, the container goes on', () =>
  leavesNothing(async () => {
    const container = await Container.create({ command: ['sleep', '600'], limits: { pids: 50 } });
    await container.start();
    const command = container.exec('sh', ['-c', script]);
    await command.started;
    await killMonitorOf(command.pid!);
    expect(await command).toMatchObject(killed);
    expect(sleepers()).toBe(0);
    expect(container.status).toBe('running');
    expect((await container.exec('echo', ['on'])).stdout).toBe('on\n');
    await container.remove({ force: true });
  }),
);

rootTest('a command of a pool: the next one has another sandbox', () =>
  leavesNothing(async () => {
    const pool = await Pool.create({ size: 1 });
    const sandbox = await pool.acquire();
    const command = sandbox.run('sh', ['-c', script]);
    await command.started;
    await killMonitorOf(command.pid!);
    expect(await command).toMatchObject(killed);
    expect((await pool.run('echo', ['next'])).stdout).toBe('next\n');
    await pool.close();
  }),
);
