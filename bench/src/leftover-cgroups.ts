import { readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** As deep as the peers make theirs: below the root, or below the cgroup of their caller. */
const DEEPEST = 4;
const PATIENCE_MS = 2_000;

/**
 * Ends and removes the cgroups that a benchmark has left: those named `bench-…` after the process that ran it. crun, runc and
 * cgexec leave some where a tree of v1 has a controller that they do not use, and all of them when they are interrupted.
 *
 * @param pid - the process, which has ended or makes no more
 * @returns those that are still there
 */
export async function removeLeftoverCgroups(pid: number): Promise<string[]> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const left = cgroupMounts().flatMap((mount) => find(mount, new RegExp(`^bench-(?:.*-)?${pid}(?:-|$)`)));
    const stuck = left.filter((path) => !remove(path));
    if (stuck.length === 0 || performance.now() > deadline) return stuck;
    await sleep(20);
  }
}

function cgroupMounts(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => (/ - cgroup2? /.test(line) ? [line.split(' ')[4]!] : []));
}

function find(directory: string, name: RegExp, depth = 1): string[] {
  return children(directory).flatMap((child) => {
    if (name.test(child)) return [join(directory, child)];
    return depth < DEEPEST ? find(join(directory, child), name, depth + 1) : [];
  });
}

/** Returns false when it is not gone yet: the kernel has not finished with its processes. */
function remove(path: string): boolean {
  try {
    for (const child of children(path)) remove(join(path, child));
    const pids = readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').map(Number);
    // 0 is a process that our pid namespace does not know; kill(2) would take it for our own group.
    for (const pid of pids) if (pid > 0) process.kill(pid, 'SIGKILL');
    rmdirSync(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

function children(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  } catch {
    // Gone in the meantime.
    return [];
  }
}
