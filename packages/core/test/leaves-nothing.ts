import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kernelState, leftSince } from '@ns/testing';
import { run } from '../src/index.ts';

/** A state root of this file's own, whose content tells what was left in it. */
export function useOwnStateRoot(): { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'core-state-'));
  const inherited = process.env.NS_STATE_ROOT;
  process.env.NS_STATE_ROOT = path;
  afterAll(() => {
    if (inherited === undefined) delete process.env.NS_STATE_ROOT;
    else process.env.NS_STATE_ROOT = inherited;
    rmSync(path, { recursive: true, force: true });
  });
  return { path };
}

/** Fails when an action leaves a descriptor, child, zombie, mount or state file of this process behind. */
export async function leavesNothing(act: () => Promise<void>): Promise<void> {
  // Node, koffi and the library open some descriptors when first used.
  watch(tmpdir()).close();
  await run('true', [], { limits: { memory: '64MiB', pids: 64 } });
  const before = kernelState();
  await act();
  expect(await leftSince(before)).toEqual([]);
  expect(filesBelow(process.env.NS_STATE_ROOT ?? '').filter((path) => path.endsWith('state.json'))).toEqual([]);
}

/** Directories of the control groups a process is in, where they are a container's own. */
export function cgroupDirectories(pid: number): string[] {
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '));
  return readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [, controllers, path] = line.match(/^\d+:([^:]*):(.*)$/)!.slice(0, 3);
      const mount = mounts.find(([, , type, options]) =>
        controllers === ''
          ? type === 'cgroup2'
          : type === 'cgroup' && controllers!.split(',').every((name) => options!.split(',').includes(name)),
      );
      return mount && /ns-[0-9a-f]{64}/.test(path!) ? [join(mount[1]!, path!)] : [];
    });
}

/** The command line of a process; nothing of one that is gone. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
  } catch {
    return '';
  }
}

/** Those of some directories that are still there. */
export function remaining(directories: readonly string[]): string[] {
  return directories.filter((directory) => existsSync(directory));
}

function filesBelow(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, encoding: 'utf8' });
}
