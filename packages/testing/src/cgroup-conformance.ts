import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from './kernel-state.ts';
import { needs } from './needs.ts';

/* What every implementation of cgroups must do, whatever tree it works on. Asserts the kernel's own files. */

interface Matchers<Result> {
  toBe(value: unknown): Result;
  toEqual(value: unknown): Result;
  toContain(value: unknown): Result;
  toHaveLength(length: number): Result;
  toMatchObject(value: object): Result;
  toBeGreaterThan(value: number): Result;
  toBeLessThan(value: number): Result;
  toBeLessThanOrEqual(value: number): Result;
  toBeUndefined(): Result;
}
declare const expect: {
  (value: unknown): Matchers<void> & { readonly rejects: Matchers<Promise<void>> };
  any(type: unknown): unknown;
  stringContaining(text: string): unknown;
};

/** The part of a cgroup the suite speaks to. */
export interface ConformingCgroup extends AsyncDisposable {
  readonly paths: readonly string[];
  readonly frozen: boolean;
  pathOf(controller: 'memory' | 'cpu' | 'pids'): string | undefined;
  add(pid: number): Promise<void>;
  update(limits: object): Promise<unknown>;
  processes(): Promise<readonly number[]>;
  stats(): Promise<ConformingStats>;
  events(): AsyncIterableIterator<{ readonly type: string; readonly populated?: boolean }>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  kill(): Promise<void>;
  remove(options?: { timeoutMs?: number }): Promise<void>;
  oomKills(): number | undefined;
  createChild(name: string, limits?: object): Promise<ConformingCgroup>;
}

/** The part of the numbers the suite looks at. */
export interface ConformingStats {
  readonly cpu: { readonly usageUs: number | undefined; readonly throttledPeriods: number | undefined } | undefined;
  readonly memory: { readonly peakBytes: number | undefined; readonly maxBytes: number | undefined } | undefined;
  readonly pids: { readonly current: number | undefined; readonly refused: number | undefined } | undefined;
}

/** What the suite is run on. */
export interface CgroupConformanceSubject {
  /** Appears in the names of the tests, `'v2'`. */
  readonly title: string;
  /** Version of the trees that hold the controllers. */
  readonly version: 1 | 2;
  /** Why nothing of this can run here. */
  readonly missing?: string | undefined;
  create(name: string, limits?: object): Promise<ConformingCgroup>;
  prune(): Promise<{ readonly removed: readonly string[] }>;
  /** Makes a cgroup that belongs to another process. */
  createOwnedBy(pid: number, name: string): Promise<ConformingCgroup>;
}

const limits = { memory: { max: 32 * 2 ** 20, swapMax: 0 }, pids: { max: 20 }, cpu: { max: 0.5 } };
const kernelFiles = {
  1: { memory: 'memory.limit_in_bytes', cpu: 'cpu.cfs_quota_us', pids: 'pids.max' },
  2: { memory: 'memory.max', cpu: 'cpu.max', pids: 'pids.max' },
} as const;

const deadlineMs = 60_000;

/** Declares the tests. Needs root, Jest's globals, `sh`, `sleep` and `tail`. */
export function cgroupConformance(subject: CgroupConformanceSubject): void {
  const test = needs(subject.missing);
  const { title, version } = subject;
  let serial = 0;
  const uniqueName = (): string => `conformance-${process.pid}/${++serial}`;
  const create = (wanted: object = limits): Promise<ConformingCgroup> => subject.create(uniqueName(), wanted);
  const kernelText = (cg: ConformingCgroup, controller: 'memory' | 'cpu' | 'pids'): string =>
    readFileSync(`${cg.pathOf(controller)}/${kernelFiles[version][controller]}`, 'utf8').trim();
  const it = (name: string, body: () => Promise<void>): void => test(`${title}: ${name}`, body, deadlineMs);

  it('limits are in the files of the kernel, and nothing is left after disposal', async () => {
    let paths: readonly string[] = [];
    {
      await using cg = await create();
      paths = cg.paths;
      expect(paths.every((path) => existsSync(path))).toBe(true);
      expect(kernelText(cg, 'memory')).toBe(String(32 * 2 ** 20));
      expect(kernelText(cg, 'pids')).toBe('20');
      expect(kernelText(cg, 'cpu')).toBe(version === 2 ? '50000 100000' : '50000');
    }
    expect(paths.filter((path) => existsSync(path))).toEqual([]);
  });

  it('a limit changes while processes run, in either direction', async () => {
    await using cg = await create();
    using _sleeper = await startInside(cg, 'exec sleep 60');
    for (const max of [64, 16, 128]) {
      await cg.update({ memory: { max: max * 2 ** 20 }, cpu: { max: max / 64 }, pids: { max } });
      expect(kernelText(cg, 'memory')).toBe(String(max * 2 ** 20));
      expect(kernelText(cg, 'pids')).toBe(String(max));
      expect((await cg.stats()).memory?.maxBytes).toBe(max * 2 ** 20);
    }
  });

  it('a process that is added is in every tree in use', async () => {
    await using cg = await create();
    using child = start('exec sleep 60');
    await cg.add(child.pid);
    expect(await cg.processes()).toEqual([child.pid]);
    for (const path of cg.paths) expect(readFileSync(`${path}/cgroup.procs`, 'utf8')).toBe(`${child.pid}\n`);
  });

  it('a memory hog is killed and counted; a process killed by somebody is not', async () => {
    await using hog = await create();
    await using other = await create();
    using eater = await startInside(hog, 'exec tail /dev/zero');
    using victim = await startInside(other, 'exec sleep 60');
    await eater.exit;
    victim.process.kill('SIGKILL');
    await victim.exit;
    expect(eater.process.signalCode).toBe('SIGKILL');
    expect(victim.process.signalCode).toBe('SIGKILL');
    expect(hog.oomKills()).toBe(1);
    expect(other.oomKills()).toBe(0);
    const { memory } = await hog.stats();
    expect(memory?.peakBytes ?? memory?.maxBytes).toBeGreaterThan(30 * 2 ** 20);
  });

  it('verdicts stay apart when several run out of memory at once', async () => {
    const hogs = await Promise.all([1, 2, 3, 4].map(() => create()));
    const eaters = await Promise.all(
      hogs.map((cg, index) => startInside(cg, index % 2 ? 'exec sleep 0.1' : 'exec tail /dev/zero')),
    );
    await Promise.all(eaters.map((eater) => eater.exit));
    expect(hogs.map((cg) => cg.oomKills())).toEqual([1, 0, 1, 0]);
    for (const cg of hogs) await cg[Symbol.asyncDispose]();
  });

  it('a cpu hog gets what it may have', async () => {
    await using cg = await create({ cpu: { max: 0.1 }, pids: { max: 20 } });
    using _hog = await startInside(cg, 'while :; do :; done');
    const before = await cg.stats();
    const begin = performance.now();
    const used = async (): Promise<number> => (await cg.stats()).cpu?.usageUs ?? 0;
    await sleep(1_000);
    const share = ((await used()) - (before.cpu?.usageUs ?? 0)) / 1_000 / (performance.now() - begin);
    expect(share).toBeLessThan(0.3);
    // How soon it gets it is up to the others on this machine.
    expect(await eventually(async () => ((await cg.stats()).cpu?.throttledPeriods ?? 0) > 2)).toBe(true);
    expect(await used()).toBeGreaterThan(10_000);
  });

  it('a fork bomb stays in its bounds and dies as a whole', async () => {
    await using cg = await create();
    using _bomb = await startInside(cg, 'bomb() { bomb | bomb & }; bomb; exec sleep 60');
    await eventually(async () => ((await cg.stats()).pids?.refused ?? 0) > 0);
    const { pids } = await cg.stats();
    expect(pids?.current).toBeLessThanOrEqual(20);
    expect(pids?.refused).toBeGreaterThan(0);
    await cg.kill();
    expect(await cg.processes()).toEqual([]);
    await cg.kill();
  });

  it('frozen processes stand still, thawed ones go on', async () => {
    await using cg = await create({ cpu: { max: 0.5 } });
    using _hog = await startInside(cg, 'while :; do :; done');
    const usage = async (): Promise<number> => (await cg.stats()).cpu?.usageUs ?? 0;
    await cg.freeze();
    expect(cg.frozen).toBe(true);
    await sleep(50); // the tick that was running is still booked
    const frozenAt = await usage();
    await sleep(200);
    expect(await usage()).toBe(frozenAt);
    await cg.thaw();
    expect(cg.frozen).toBe(false);
    expect(await eventually(async () => (await usage()) > frozenAt)).toBe(true);
  });

  it('frozen processes can be killed', async () => {
    await using cg = await create();
    using sleeper = await startInside(cg, 'sleep 60 & exec sleep 60');
    await cg.freeze();
    await cg.kill();
    await sleeper.exit;
    expect(await cg.processes()).toEqual([]);
  });

  it('events tell of the first and the last process, and of a kill for memory', async () => {
    await using cg = await create();
    const seen: string[] = [];
    const events = cg.events();
    const reading = (async () => {
      for await (const event of events) {
        seen.push(event.populated === undefined ? event.type : `${event.type} ${event.populated}`);
        if (event.type === 'oom_kill') seen.push('killed');
        if (seen.includes('killed') && seen.includes('populated false')) break;
      }
    })();
    using waiting = start('read go; exec tail /dev/zero');
    await cg.add(waiting.pid);
    waiting.process.stdin?.end('go\n');
    await waiting.exit;
    await reading;
    expect(seen).toContain('populated true');
    expect(seen).toContain('oom');
  });

  it('the stream ends when the cgroup is removed or disposed', async () => {
    const cg = await create();
    const events = cg.events();
    const types: string[] = [];
    const reading = (async () => {
      for await (const event of events) types.push(event.type);
    })();
    await cg[Symbol.asyncDispose]();
    await reading;
    expect(types.filter((type) => type !== 'removed')).toEqual([]);
  });

  it('removal waits for processes that end, and names those that do not', async () => {
    await using cg = await create();
    using brief = await startInside(cg, 'exec sleep 0.2');
    await cg.remove();
    await brief.exit;
    expect(cg.paths.filter((path) => existsSync(path))).toEqual([]);
    await using busy = await create();
    using long = await startInside(busy, 'exec sleep 60');
    await expect(busy.remove({ timeoutMs: 100 })).rejects.toMatchObject({
      code: 'ERR_NS_CGROUP_BUSY',
      message: expect.stringContaining(String(long.pid)),
    });
  });

  it('a cgroup removed under our feet is gone, not a crash', async () => {
    const cg = await create();
    for (const path of cg.paths) rmdirSync(path);
    await expect(cg.stats()).rejects.toMatchObject({ code: 'ERR_NS_CGROUP_GONE' });
    await expect(cg.update({ pids: { max: 5 } })).rejects.toMatchObject({ code: 'ERR_NS_CGROUP_GONE' });
    await expect(cg.add(process.pid)).rejects.toMatchObject({ code: 'ERR_NS_CGROUP_GONE' });
    expect(cg.oomKills()).toBeUndefined();
    await cg.kill();
    await cg.remove();
    await cg[Symbol.asyncDispose]();
  });

  it('of two that make the same cgroup one wins, and the other says why', async () => {
    const name = uniqueName();
    const results = await Promise.allSettled([subject.create(name, limits), subject.create(name, limits)]);
    const made = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(made).toHaveLength(1);
    expect(results.find((result) => result.status === 'rejected')).toMatchObject({
      reason: { code: 'ERR_NS_CGROUP_EXISTS' },
    });
    expect(kernelText(made[0]!, 'pids')).toBe('20');
    await made[0]![Symbol.asyncDispose]();
  });

  it('two writers leave one of the values', async () => {
    await using cg = await create();
    await Promise.all([40, 50].map((max) => cg.update({ pids: { max } })));
    expect(['40', '50']).toContain(kernelText(cg, 'pids'));
  });

  it('many come and go at once without stepping on parents they share', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `conformance-${process.pid}/shared/${index}`);
    await Promise.all(
      names.map(async (name) => {
        for (let round = 0; round < 3; round++) {
          await using cg = await subject.create(name, limits);
          expect(kernelText(cg, 'pids')).toBe('20');
        }
      }),
    );
  });

  it('a child counts for its parent and goes with it', async () => {
    const cg = await create();
    const child = await cg.createChild('exec-1', { pids: { max: 5 }, memory: { max: '16MiB' } });
    expect(kernelText(child, 'pids')).toBe('5');
    using _sleeper = await startInside(child, 'exec sleep 60');
    expect(await cg.processes()).toHaveLength(1);
    expect((await cg.stats()).pids?.current).toBe(1);
    await cg[Symbol.asyncDispose]();
    expect([...cg.paths, ...child.paths].filter((path) => existsSync(path))).toEqual([]);
    await child[Symbol.asyncDispose]();
  });

  it('forks that are refused beneath it are counted', async () => {
    await using cg = await create();
    await using child = await cg.createChild('leaf', { pids: { max: 30 } });
    using _bomb = await startInside(child, 'while :; do sleep 60 & done');
    const refused = async (): Promise<number> => (await cg.stats()).pids?.refused ?? 0;
    expect(await eventually(async () => (await refused()) > 0)).toBe(true);
    await cg.kill();
  });

  it('a child that is removed leaves its parent', async () => {
    await using cg = await create();
    await (await cg.createChild('exec-1', { pids: { max: 5 } }))[Symbol.asyncDispose]();
    expect(cg.paths.filter((path) => !existsSync(path))).toEqual([]);
  });

  it('the cgroup of a dead owner is found, emptied and removed; that of a living one stays', async () => {
    const owner = start('exec sleep 60');
    const name = uniqueName();
    const orphan = await subject.createOwnedBy(owner.pid, name);
    await using mine = await create();
    using inside = await startInside(orphan, 'exec sleep 60');
    await subject.prune();
    expect(orphan.paths.filter((path) => !existsSync(path))).toEqual([]);
    owner[Symbol.dispose]();
    await owner.exit;
    const { removed } = await subject.prune();
    expect(removed).toContain(name);
    await inside.exit;
    expect(orphan.paths.filter((path) => existsSync(path))).toEqual([]);
    expect(mine.paths.filter((path) => !existsSync(path))).toEqual([]);
    await orphan[Symbol.asyncDispose]();
  });

  it('a failed creation leaves nothing', async () => {
    const name = uniqueName();
    await expect(subject.create(name, { ...limits, cpuset: { cpus: '4095' } })).rejects.toMatchObject({
      code: expect.any(String),
    });
    await using again = await subject.create(name, limits);
    expect(again.paths.length).toBeGreaterThan(0);
  });
}

interface Started extends Disposable {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly exit: Promise<unknown>;
}

function start(script: string): Started {
  const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'] });
  child.stdin.on('error', () => {}); // it ended before it read
  return {
    process: child,
    pid: child.pid!,
    exit: once(child, 'exit'),
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  };
}

/** A shell that joins by itself and then runs the script. */
async function startInside(cg: ConformingCgroup, script: string): Promise<Started> {
  const join = cg.paths.map((path) => `echo 0 > ${path}/cgroup.procs`).join(' && ');
  const started = start(`${join} && { ${script}; }`);
  while (started.process.exitCode === null && started.process.signalCode === null) {
    if (cg.paths.every((path) => readMembers(path) !== '')) break;
    await sleep(2);
  }
  return started;
}

function readMembers(path: string): string {
  try {
    return readFileSync(`${path}/cgroup.procs`, 'utf8');
  } catch {
    return '';
  }
}
