import { setTimeout as delay } from 'node:timers/promises';
import { needs, notRoot } from '@ns/testing';
import { run } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* Streams as their callers really treat them: left early, asked for late, written to when nobody reads. */

const rootTest = needs(notRoot);
useOwnStateRoot();
const sh = (script: string, options: Parameters<typeof run>[1] = {}) => run('sh', ['-c', script], options as object);

rootTest('who stops iterating does not stop the command, and the result has all of its output', async () => {
  for (const buffer of [true, false]) {
    const process = sh('head -c 5000000 /dev/zero; echo done >&2', { buffer });
    for await (const _ of process) break;
    const result = await process;
    expect(result.exitCode).toBe(0);
    expect([result.stdout.length, result.stderr]).toEqual(buffer ? [5_000_000, 'done\n'] : [0, '']);
  }
});

rootTest('who begins to iterate after the end finds the end', async () => {
  const process = sh('echo there');
  expect((await process).stdout).toBe('there\n');
  const chunks: unknown[] = [];
  for await (const chunk of process) chunks.push(chunk);
  expect(chunks).toEqual([]);
});

rootTest('chunks are bytes, also when a stream was asked for text', async () => {
  const process = sh('printf é');
  process.stdout.setEncoding('utf8');
  const chunks: Buffer[] = [];
  for await (const { data } of process) chunks.push(data);
  expect(Buffer.concat(chunks).toString()).toBe('é');
});

rootTest('who writes to a command that has ended does not bring this process down', async () => {
  const process = run('true', [], { stdin: 'pipe' });
  process.stdin.write('x'.repeat(1_000_000));
  expect(await process).toMatchObject({ exitCode: 0, reason: 'exit' });
  process.stdin.write('more');
  await delay(20);
});
