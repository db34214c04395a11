import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, needs, notRoot, processEntries, processesInNamespace } from '@ns/testing';
import { launch } from '../src/index.ts';
import { NodeScript } from './node-script.ts';
import { assembleContainer, containerPlan, initPlan } from './plans.ts';
import { outcome } from './run.ts';

/* However the owner ends, nothing that it started is there a second later. */

const rootTest = needs(notRoot);
let owner: NodeScript;
beforeAll(() => {
  owner = new NodeScript('owner');
});
afterAll(() => owner[Symbol.dispose]());

interface Started {
  readonly monitor: number;
  readonly init: number;
}

/** Reads what the owner prints up to "ready". */
async function whatItStarted(child: { stdout: Readable }): Promise<Started[]> {
  const started: Started[] = [];
  for await (const line of createInterface(child.stdout)) {
    const value = JSON.parse(line) as Started | string;
    if (typeof value === 'string') break;
    started.push(value);
  }
  return started;
}

const exitOf = (child: ChildProcess) => new Promise<void>((resolve) => child.once('exit', () => resolve()));
const alive = (pids: readonly number[]) =>
  processEntries().filter(({ pid, state }) => pids.includes(pid) && state !== 'Z');
const namespaceOf = (pid: number) => readlinkSync(`/proc/${pid}/ns/pid`);

describe('the owner', () => {
  for (const [how, end] of [
    ['is killed by SIGKILL', (child: ChildProcess) => child.kill('SIGKILL')],
    ['exits', (child: ChildProcess) => child.stdin!.write('exit\n')],
  ] as const) {
    rootTest(
      `${how} with 50 containers: monitors, inits and everything in their namespaces end`,
      async () => {
        const child = owner.start(['main', '50']);
        const started = await whatItStarted(child);
        expect(started).toHaveLength(50);
        const namespaces = started.map(({ init }) => namespaceOf(init));
        expect(new Set(namespaces).size).toBe(50);
        const pids = started.flatMap(({ monitor, init }) => [monitor, init]);
        const payloads = () => processEntries().filter(({ name, parent }) => name === 'sleep' && pids.includes(parent));
        expect(await eventually(() => payloads().length === 50)).toBe(true);
        const exited = exitOf(child);
        end(child);
        await exited;
        expect(await eventually(() => alive(pids).length === 0)).toBe(true);
        expect(await eventually(() => namespaces.every((name) => processesInNamespace('pid', name).length === 0))).toBe(
          true,
        );
      },
      60_000,
    );
  }

  rootTest('is a worker thread that is terminated: its containers end, the process goes on', async () => {
    const child = owner.start(['worker', '3']);
    const started = await whatItStarted(child);
    expect(started).toHaveLength(3);
    const pids = started.flatMap(({ monitor, init }) => [monitor, init]);
    expect(alive(pids)).toHaveLength(6);
    child.stdin.write('end\n');
    expect(await eventually(() => alive(pids).length === 0)).toBe(true);
    expect(child.exitCode).toBeNull();
    const exited = exitOf(child);
    child.kill('SIGKILL');
    await exited;
  });

  rootTest(
    'is killed while it starts processes, at any moment',
    async () => {
      // Where each process is in its setup is left to chance; they all stay in this directory.
      const directory = realpathSync(mkdtempSync(join(tmpdir(), 'owner-')));
      const inside = () =>
        processEntries().filter(({ pid, state }) => state !== 'Z' && workingDirectory(pid) === directory);
      for (let round = 0; round < 8; round++) {
        const child = owner.start(['endless'], { cwd: directory });
        await whatItStarted(child);
        await delay(Math.random() * 30);
        const exited = exitOf(child);
        child.kill('SIGKILL');
        await exited;
        expect(await eventually(() => inside().length === 0)).toBe(true);
      }
      rmSync(directory, { recursive: true });
    },
    60_000,
  );
});

function workingDirectory(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

describe('the monitor', () => {
  rootTest('is killed: init and all below it end, and the launch settles', async () => {
    const launched = launch({
      steps: assembleContainer(containerPlan(['bash', '-c', 'setsid sleep 300 & sleep 300'])),
    });
    await launched.executed;
    const namespace = namespaceOf(launched.pid!);
    process.kill(launched.monitorPid, 'SIGKILL');
    const { exit } = await outcome(launched);
    expect(exit).toMatchObject({ exitCode: null, signal: 'SIGKILL', failure: undefined, usage: undefined });
    expect(processesInNamespace('pid', namespace)).toEqual([]);
  });

  rootTest('is killed while its child is still preparing', async () => {
    for (const at of ['setup', 'before'] as const) {
      const launched = launch({ steps: initPlan(['sleep', '300'], { [at]: [{ op: 'park' }] }) });
      await launched.ready;
      const namespace = namespaceOf(launched.pid!);
      process.kill(launched.monitorPid, 'SIGKILL');
      expect((await outcome(launched)).exit.signal).toBe('SIGKILL');
      expect(processesInNamespace('pid', namespace)).toEqual([]);
    }
  });
});

describe('init', () => {
  rootTest('is killed from outside: the kernel ends the namespace, the monitor reports', async () => {
    const launched = launch({ steps: initPlan(['bash', '-c', 'setsid sleep 300 & sleep 300']) });
    await launched.executed;
    const namespace = namespaceOf(launched.pid!);
    process.kill(launched.pid!, 'SIGKILL');
    const { exit } = await outcome(launched);
    expect(exit).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
    // What is ended with its pid 1 the kernel counts for nobody.
    expect(exit.usage).toBeUndefined();
    expect(processesInNamespace('pid', namespace)).toEqual([]);
  });
});

describe('the event loop', () => {
  rootTest('is kept by a running process and free when it has ended', async () => {
    const child = owner.start(['main', '0']);
    await whatItStarted(child);
    child.stdin.end();
    await exitOf(child);
    expect(child.exitCode).toBe(0);
  });
});
