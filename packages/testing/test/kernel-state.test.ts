import { spawn } from 'node:child_process';
import { closeSync, openSync, readlinkSync } from 'node:fs';
import { eventually, kernelState, leftSince, processEntries, processes, processesInNamespace } from '../src/index.ts';

test('nothing happened: nothing is left', async () => {
  const before = kernelState();
  expect(await leftSince(before)).toEqual([]);
});

test('a descriptor that stays open is told, also the second of its kind', async () => {
  const first = openSync('/dev/null', 'r');
  const before = kernelState();
  const second = openSync('/dev/null', 'r');
  expect(await leftSince(before)).toEqual(['descriptors: /dev/null']);
  closeSync(second);
  expect(await leftSince(before)).toEqual([]);
  closeSync(first);
});

test('a child is told, and found in its namespace', async () => {
  const before = kernelState();
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  expect(await eventually(() => processes(({ pid }) => pid === child.pid)[0]?.includes('sleep') ?? false)).toBe(true);
  expect(await leftSince(before)).toContainEqual(`children: ${child.pid} sleep (S)`);
  expect(processEntries().find(({ pid }) => pid === child.pid)).toMatchObject({ parent: process.pid, name: 'sleep' });
  expect(processesInNamespace('pid', readlinkSync('/proc/self/ns/pid'))).toContain(child.pid);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill();
  await exited;
  expect(await leftSince(before)).toEqual([]);
});

test('eventually gives up', async () => {
  expect(await eventually(() => false, 30)).toBe(false);
  expect(await eventually(() => true, 0)).toBe(true);
});

test('a machine that stands still uses up no patience', async () => {
  let looks = 0;
  const slowly = (): boolean => {
    for (const end = performance.now() + 50; performance.now() < end; );
    return ++looks === 3;
  };
  expect(await eventually(slowly, 40)).toBe(true);
});
