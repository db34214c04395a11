import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { slowness } from './slowness.ts';

/** What this process holds in the kernel, as readable lines. Each kind is looked up in /proc, not in our own books. */
export interface KernelState {
  /** Open descriptors: what each refers to. */
  readonly descriptors: readonly string[];
  /** Children, zombies among them. */
  readonly children: readonly string[];
  /** Mounts on the places where a container has its own: `/`, `/proc`, `/sys`, `/dev` and below. */
  readonly mounts: readonly string[];
}

/** Looks. Call it once before the first measured action too: Node and koffi open some descriptors when first used. */
export function kernelState(): KernelState {
  return { descriptors: descriptors(), children: processes(({ parent }) => parent === process.pid), mounts: mounts() };
}

/**
 * What exists now and did not in `before`, as readable lines. The kernel takes some things apart a little later than the
 * call that ended them returns, and helpers of ours wait some seconds for more to do, so they get ten.
 */
export async function leftSince(before: KernelState): Promise<string[]> {
  for (let attempt = 0; ; attempt++) {
    const now = kernelState();
    const left = (['descriptors', 'children', 'mounts'] as const).flatMap((kind) =>
      without(now[kind], before[kind]).map((line) => `${kind}: ${line}`),
    );
    if (left.length === 0 || attempt === MOST_ATTEMPTS) return left;
    await delay(50);
  }
}

/** 50 ms apart. */
const MOST_ATTEMPTS = 200;

/** A process as /proc/PID/stat shows it. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  /** R, S, D, Z, T, … */
  readonly state: string;
  readonly name: string;
}

/** Pid, name and state of the processes that `matches` wants. */
export function processes(matches: (entry: ProcessEntry) => boolean): string[] {
  return processEntries()
    .filter(matches)
    .map(({ pid, name, state }) => `${pid} ${name} (${state})`);
}

/** Every process of the machine that is there while we look. */
export function processEntries(): ProcessEntry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const stat = readOrNothing(`/proc/${pid}/stat`);
      // The name stands in parentheses and may itself contain some.
      const [, name, state, parent] = /^\d+ \((.*)\) (\S) (\d+)/s.exec(stat) ?? [];
      return name === undefined ? [] : [{ pid: Number(pid), parent: Number(parent), state: state!, name }];
    });
}

/**
 * Pids of the processes in a namespace, given as `readlink /proc/PID/ns/pid` prints it: `pid:[4026531836]`. Without zombies:
 * when a parent was killed, reaping is up to the machine's init, which takes its time.
 *
 * The kernel gives the number of a namespace that is gone to the next one, which may belong to a test that another worker
 * of the runner has under way; those are left out.
 */
export function processesInNamespace(kind: string, name: string): number[] {
  const entries = processEntries();
  const parents = new Map(entries.map(({ pid, parent }) => [pid, parent]));
  const belongsToSibling = (pid: number | undefined): boolean => {
    if (pid === undefined || pid <= 1 || pid === process.pid) return false;
    const parent = parents.get(pid);
    return parent === process.ppid || belongsToSibling(parent);
  };
  return entries
    .filter(({ pid, state }) => state !== 'Z' && !belongsToSibling(pid))
    .map(({ pid }) => pid)
    .filter((pid) => linkOrNothing(`/proc/${pid}/ns/${kind}`) === name);
}

/**
 * Waits until `condition` holds. Looks are counted, not time: while a machine stands still nobody comes nearer to it.
 *
 * @param timeoutMs - on hardware that does not pause; an emulated machine gets {@link slowness} times as much
 * @returns whether it came to hold
 */
export async function eventually(condition: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<boolean> {
  for (let looks = (timeoutMs * slowness) / LOOK_EVERY_MS; !(await condition()); looks--) {
    if (looks <= 0) return false;
    await delay(LOOK_EVERY_MS);
  }
  return true;
}

const LOOK_EVERY_MS = 10;

function descriptors(): string[] {
  return (
    readdirSync('/proc/self/fd')
      .map((fd) => linkOrNothing(`/proc/self/fd/${fd}`))
      // The descriptor by which we look is gone by the time we ask what it is.
      .filter((target) => target !== '' && !target.startsWith(`/proc/${process.pid}/fd`))
  );
}

function mounts(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ').slice(3, 5).join(' on '))
    .filter((line) => / on \/((proc|sys|dev)(\/.*)?)?$/.test(line));
}

function without(now: readonly string[], before: readonly string[]): string[] {
  const left = [...before];
  return now.filter((line) => {
    const at = left.indexOf(line);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function linkOrNothing(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
