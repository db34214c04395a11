import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, watch } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, kernelState, leftSince, needs, notRoot } from '@ns/testing';
import { Container, prune, run } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/*
 * Node processes do random things to containers, and are killed; so are monitors. What may be left is what was asked to
 * outlive them, and at the end nothing. `npm run soak -- --minutes N [--seed N]` goes on for longer than the tests.
 */

const seconds = Number(process.env.SOAK_MINUTES ?? 0) * 60 || 12;
// The tests do the same each time, as far as the machine does; who soaks longer sees more.
const firstSeed = Number(process.env.SOAK_SEED ?? (process.env.SOAK_MINUTES ? randomBytes(4).readUInt32LE() : 1));
const root = useOwnStateRoot();
const mark = `mark${randomBytes(4).toString('hex')}`;

/** Pids of processes that a container of ours runs. */
function marked(): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      if (!/^\d+$/.test(name)) return [];
      const argv = readFileSync(`/proc/${name}/cmdline`, 'latin1').split('\0');
      return argv[0] !== process.execPath && argv.includes(mark) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

/** Directories of control groups that belong to these containers. */
function cgroupsOf(ids: ReadonlySet<string>): string[] {
  const below = (directory: string, depth: number): string[] => {
    try {
      return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
        if (!entry.isDirectory()) return [];
        const path = join(directory, entry.name);
        const own = ids.has(entry.name.replace(/^ns-/, '')) ? [path] : [];
        return [...own, ...(depth > 0 ? below(path, depth - 1) : [])];
      });
    } catch {
      return [];
    }
  };
  return below('/sys/fs/cgroup', 2);
}

/** What a directory of the state root holds. The last monitor takes an empty one away. */
function namesIn(kind: string): string[] {
  const directory = join(root.path, kind);
  return existsSync(directory) ? readdirSync(directory) : [];
}

const stateOf = (id: string): { detachable?: boolean; monitor?: { pid: number; startTime: number } } => {
  try {
    return JSON.parse(readFileSync(join(root.path, 'containers', id, 'state.json'), 'utf8'));
  } catch {
    return {};
  }
};

/** A process that has fun with containers for a while. Gives back what it complained of. */
async function live(owner: NodeProgram, seed: number, ids: Set<string>): Promise<string[]> {
  const complaints: string[] = [];
  // Killed, it leaves its files: where ours are removed, they are too.
  const temporary = join(root.path, 'tmp');
  mkdirSync(temporary, { recursive: true });
  const child = owner.start([String(seed), mark], { env: { NS_STATE_ROOT: root.path, TMPDIR: temporary } });
  child.stdin.end();
  const ended = new Promise((resolve) => child.once('close', resolve));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, ...complaint } = JSON.parse(line);
    if (id === undefined) complaints.push(`seed ${seed}: ${JSON.stringify(complaint)}`);
    else ids.add(id);
  });
  createInterface({ input: child.stderr }).on('line', (line) => complaints.push(`seed ${seed}: stderr: ${line}`));
  for (let round = 1 + (seed % 5); round > 0; round--) {
    await delay(700);
    // A monitor is killed now and then: its container goes with it.
    const monitor = seed % 3 === 0 ? stateOf([...ids].at(-1) ?? '').monitor : undefined;
    try {
      if (monitor && readFileSync(`/proc/${monitor.pid}/comm`, 'utf8') === 'ns-monitor\n')
        process.kill(monitor.pid, 'SIGKILL');
    } catch {
      // It has ended in between.
    }
  }
  child.kill(seed % 4 === 0 ? 'SIGTERM' : 'SIGKILL');
  await ended;
  return complaints;
}

needs(notRoot)(
  `random operations and kills, beginning with seed ${firstSeed}`,
  async () => {
    using owner = new NodeProgram('soak-owner');
    const ids = new Set<string>();
    const complaints: string[] = [];
    let seed = firstSeed;
    await prune();
    // Opened once: Node's own, and the stage.
    watch(root.path).close();
    await run('true');
    const before = kernelState();
    for (const until = Date.now() + seconds * 1000; Date.now() < until; ) {
      const owners = Array.from({ length: 2 }, () => live(owner, seed++, ids));
      complaints.push(...(await Promise.all(owners)).flat());
      // Nobody has asked these to stay.
      await eventually(
        async () => (await Container.list()).every(({ id }) => stateOf(id).detachable !== false),
        20_000,
      );
      const stayed = await Container.list();
      expect(stayed.filter(({ id }) => stateOf(id).detachable === false)).toEqual([]);
      const alive = stayed.filter(({ status }) => status !== 'stopped');
      if (alive.length === 0) expect(await eventually(() => marked().length === 0, 20_000)).toBe(true);
      for (const { id } of stayed) {
        await using container = await Container.get(id);
        await container.remove({ force: true });
      }
      expect(complaints).toEqual([]);
      expect(await eventually(() => marked().length === 0, 20_000)).toBe(true);
      // Again, for a cgroup whose maker was killed before it had marked it: nobody takes that away in its first second.
      let failed: unknown;
      await eventually(async () => {
        ({ failed } = await prune());
        return cgroupsOf(ids).length === 0;
      }, 20_000);
      expect(cgroupsOf(ids).map((cgroup) => ({ cgroup, failed }))).toEqual([]);
      // Of one that died in its first moment it is not known whose it was: it is old enough to go now.
      for (const id of namesIn('containers')) utimesSync(join(root.path, 'containers', id), 1, 1);
      await prune();
      const left = ['containers', 'names'].flatMap(namesIn);
      expect(left).toEqual([]);
    }
    expect(await leftSince(before)).toEqual([]);
    console.log(`${ids.size} containers in ${seconds} s, seeds ${firstSeed} to ${seed - 1}`);
  },
  seconds * 1000 + 120_000,
);
