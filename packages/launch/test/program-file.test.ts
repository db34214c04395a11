import { closeSync, openSync, readdirSync, readlinkSync, writeSync } from 'node:fs';
import { eventually } from '@ns/testing';
import { PreparedProgram } from '../src/index.ts';
import { monitoredPlan } from './plans.ts';
import { run } from './run.ts';

/* Programs that several launches share. */

const linkOf = (fd: string): string => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ''; // that of the directory itself
  }
};
const programFiles = () => readdirSync('/proc/self/fd').filter((fd) => linkOf(fd).includes('memfd:ns-program'));

test('each launch has its own texts, and all have one file, which nobody can write to', async () => {
  expect(await eventually(() => programFiles().length === 0)).toBe(true);
  const say = (text: string) => ({ steps: monitoredPlan(['echo', `is ${text}`, text]), variables: [text] });
  for (const text of ['one', 'two', 'six']) expect((await run(say(text))).stdout).toBe(`is ${text} ${text}\n`);
  for (const direct of [true, false]) expect((await run({ ...say('ten'), direct })).stdout).toBe('is ten ten\n');
  const [file, ...others] = programFiles();
  expect(others).toEqual([]);
  const writable = openSync(`/proc/self/fd/${file}`, 'r+');
  expect(() => writeSync(writable, 'x')).toThrow('EPERM');
  closeSync(writable);
});

test('a failure is explained with the texts of its launch', async () => {
  const enter = (path: string) => ({
    steps: monitoredPlan(['true'], { before: [{ op: 'workingDirectory', path, create: false }] }),
    variables: [path],
  });
  for (const path of ['/no/such/place', '/no/such/thing']) {
    const { exit } = await run(enter(path));
    expect(exit.failure).toMatchObject({ syscall: 'chdir', path, step: { op: 'workingDirectory' } });
  }
});

test('of more programs than are kept the oldest are made again; none is kept when nothing is launched', async () => {
  const programs = Array.from({ length: 12 }, (_, i) => new PreparedProgram(monitoredPlan(['echo', `${i}`])));
  for (let round = 0; round < 2; round++)
    for (const [i, steps] of programs.entries()) expect((await run({ steps })).stdout).toBe(`${i}\n`);
  expect(programFiles().length).toBeLessThanOrEqual(8);
  expect(await eventually(() => programFiles().length === 0)).toBe(true);
});
