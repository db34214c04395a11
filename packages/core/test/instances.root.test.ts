import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';
import { cgroupDirectories, remaining, useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* Node processes that end by themselves, or not as they wished; and several copies of the library in one. */

const rootTest = needs(notRoot);
// Several processes and threads, each of which starts the library anew.
const test = (name: string, act: () => Promise<void>) => rootTest(name, act, 60_000);
useOwnStateRoot();
let program: NodeProgram;
beforeAll(() => {
  program = new NodeProgram('instances');
});
afterAll(() => program[Symbol.dispose]());

/** Runs a program that has to end without being told. */
async function said(mode: string): Promise<unknown> {
  const { stdout, ...end } = await program.run([mode]);
  expect(end).toEqual({ exitCode: 0, signal: null, stderr: '' });
  expect(await Container.list()).toEqual([]);
  return JSON.parse(stdout);
}

test('the event loop ends by itself, and no listeners of the process are left', async () => {
  const { before, after } = (await said('everything')) as Record<string, unknown>;
  expect(after).toEqual(before);
});

test('two copies of the library in one process do not know of each other, and share what is on disk', async () => {
  expect(await said('copies')).toEqual({
    same: false,
    stdout: ['one\n', 'two\n'],
    exitCode: 7,
    listed: [true, true],
    status: ['running', 'running'],
  });
});

test('two worker threads at once end by themselves', async () => {
  expect(await said('workers')).toEqual([0, 0]);
});

for (const [how, mode, exitCode, message] of [
  ['of an exception that nobody catches', 'throws', 1, /nobody catches this/],
  ['of a rejection that nobody handles', 'rejects', 1, /nobody catches this/],
  ['by process.exit in the middle of everything', 'exit', 5, /^$/],
] as const) {
  test(`a process that ends ${how} takes its containers along`, async () => {
    const child = program.start([mode]);
    try {
      const ended = new Promise((resolve) => child.once('close', resolve));
      const stderr = text(child.stderr);
      const lines = createInterface(child.stdout as Readable)[Symbol.asyncIterator]();
      // The program waits for nobody: it may be gone when its line is read.
      const pid = JSON.parse((await lines.next()).value) as number;
      const directories = cgroupDirectoriesIfAlive(pid);
      expect(await ended).toBe(exitCode);
      expect(await stderr).toMatch(message);
      expect(await eventually(() => remaining(directories).length === 0 && !isAlive(pid), 20_000)).toBe(true);
      expect(await eventually(async () => (await Container.list()).length === 0, 20_000)).toBe(true);
    } finally {
      child.kill('SIGKILL');
    }
  });
}

function cgroupDirectoriesIfAlive(pid: number): string[] {
  try {
    return cgroupDirectories(pid);
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
