import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { identifyProcess, isAlive, readProcessStat } from '../src/index.ts';

const NOBODY = 2 ** 22 + 1;

test('this process', () => {
  const stat = readProcessStat(process.pid)!;
  expect(stat).toMatchObject({ state: expect.stringMatching(/[RS]/), parent: process.ppid });
  expect(identifyProcess(process.pid)).toEqual({ pid: process.pid, startTime: stat.startTime });
});

test('a name with parentheses and spaces does not shift the fields', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ns-process-stat-'));
  const script = join(directory, ') Z 1 (');
  await writeFile(script, '#!/bin/sh\necho begun\nread end\n', { mode: 0o755 });
  const child = spawn(script, { stdio: ['pipe', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  expect(readProcessStat(child.pid!)).toMatchObject({ state: expect.stringMatching(/[RS]/), parent: process.pid });
  child.stdin.end();
  await once(child, 'exit');
  await rm(directory, { recursive: true });
});

test('nobody, and one who has the pid of another', () => {
  expect(readProcessStat(NOBODY)).toBeUndefined();
  expect(identifyProcess(NOBODY)).toBeUndefined();
  const self = identifyProcess(process.pid)!;
  expect(isAlive(self)).toBe(true);
  expect(isAlive({ ...self, startTime: self.startTime - 1 })).toBe(false);
});

test('a zombie is there, and nobody', async () => {
  // What sh has started is a child of the sleep it becomes, which never waits; it ends only then.
  const script = 'read line <&3 & echo $!; exec sleep 60';
  const parent = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore', 'pipe'] });
  const [line] = (await once(parent.stdout!, 'data')) as [Buffer];
  const pid = Number(line);
  expect(await comesTrue(() => readFileSync(`/proc/${parent.pid}/comm`, 'utf8') === 'sleep\n')).toBe(true);
  (parent.stdio[3] as Writable).end();
  expect(await comesTrue(() => readProcessStat(pid)?.state === 'Z')).toBe(true);
  expect(readProcessStat(pid)!.parent).toBe(parent.pid);
  expect(identifyProcess(pid)).toBeUndefined();
  parent.kill('SIGKILL');
  await once(parent, 'exit');
});

test('a thread, by its id', async () => {
  const tellId = `
    const { parentPort } = require('node:worker_threads');
    parentPort.once('message', () => parentPort.close());
    parentPort.postMessage(Number(require('node:fs').readlinkSync('/proc/thread-self').split('/').at(-1)));`;
  const worker = new Worker(tellId, { eval: true });
  const [id] = (await once(worker, 'message')) as [number];
  const thread = identifyProcess(id)!;
  expect(thread.startTime).toBeGreaterThan(identifyProcess(process.pid)!.startTime);
  expect(isAlive(thread)).toBe(true);
  worker.postMessage('end');
  await once(worker, 'exit');
  expect(await comesTrue(() => !isAlive(thread))).toBe(true);
});

async function comesTrue(condition: () => boolean): Promise<boolean> {
  for (let tries = 0; tries < 1000 && !condition(); tries++) await sleep(2);
  return condition();
}
