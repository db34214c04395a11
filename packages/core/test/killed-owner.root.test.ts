import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { detectCgroups } from '@ns/cgroups';
import { AT_FDCWD, getXattr, hasCode } from '@ns/libc';
import { eventually, needs, notRoot, processEntries } from '@ns/testing';
import { useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* In every moment of a container's life its owner may die, and nothing stays: without prune, and without anybody starting anything. */

const rootTest = needs(notRoot);
const stateRoot = useOwnStateRoot();
const rounds = 2;

let program: NodeProgram;
beforeAll(() => {
  program = new NodeProgram('killed-owner');
});
afterAll(() => program[Symbol.dispose]());

const cgroups = (): string[] =>
  detectCgroups().hierarchies.flatMap(({ mountPoint }) => {
    const base = join(mountPoint, 'ns');
    return namesIn(base).flatMap((name) => (name.startsWith('ns-') ? [join(base, name)] : []));
  });

/** Whoever removes the last cgroup in it removes the directory, too. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENODEV')) return [];
    throw error;
  }
}

/** Are its owner's, or of somebody who did not get to say whose: other tests make cgroups at the same time. */
function isLeft(cgroup: string, owners: ReadonlySet<string>): boolean {
  try {
    const mark = getXattr(AT_FDCWD, cgroup, 'user.ns.owner') ?? getXattr(AT_FDCWD, cgroup, 'trusted.ns.owner');
    return mark === undefined || owners.has(mark.toString('latin1').split(' ')[0]!);
  } catch (error) {
    // Removed since the tree was read.
    if (hasCode(error, 'ENOENT', 'ENODEV')) return false;
    throw error;
  }
}

/** What is on disk of containers: volumes stay, and directories that all share. */
function files(): string[] {
  const shared = /^(names|ids|ids\/lock|containers|volumes|volumes\/data(\/users|\/data|\/volume\.json)?)$/;
  try {
    return readdirSync(stateRoot.path, { recursive: true, encoding: 'utf8' }).filter((path) => !shared.test(path));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return ['what was removed while it was read'];
    throw error;
  }
}

for (const operation of ['removal', 'removal of what outlives', 'half a removal', 'making of what outlives'])
  rootTest(`killed half way: ${operation}`, async () => {
    const before = new Set(cgroups());
    const owner = program.start([operation]);
    const owners = new Set([`${owner.pid}`]);
    expect((await once(owner, 'exit'))[1]).toBe('SIGKILL');
    const left = () => [...files(), ...cgroups().filter((cgroup) => !before.has(cgroup) && isLeft(cgroup, owners))];
    await eventually(() => left().length === 0, 5000);
    expect(left()).toEqual([]);
  });

const threadsOf = (pid: number) => new Set(readdirSync(`/proc/${pid}/task`));

for (const way of ['SIGKILL', 'exit', 'worker'] as const)
  rootTest(
    `${way}, at any moment`,
    async () => {
      for (const operation of ['run', 'life', 'volume', 'restart', 'exec', 'pool']) {
        for (let round = 0; round < (way === 'SIGKILL' ? rounds : 1); round++) {
          const before = new Set(cgroups());
          const owner = program.start([operation, way]);
          await once(owner.stdout, 'data');
          const owners = threadsOf(owner.pid!);
          const afterMs = 50 * Math.random();
          await delay(afterMs);
          for (const thread of threadsOf(owner.pid!)) owners.add(thread);
          const children = processEntries().filter(({ parent }) => parent === owner.pid);
          const ended = way === 'worker' ? once(owner.stdout, 'data') : once(owner, 'exit');
          if (way === 'SIGKILL') owner.kill('SIGKILL');
          else owner.stdin.write('end\n');
          await ended;
          const left = () => ({
            cgroups: cgroups().filter((path) => !before.has(path) && isLeft(path, owners)),
            files: files(),
            processes: processEntries().filter(({ pid, name }) =>
              children.some((child) => child.pid === pid && child.name === name),
            ),
          });
          // At one moment: in the next, others may have made a cgroup that they have not marked yet.
          let last = left();
          await eventually(() => {
            last = left();
            return Object.values(last).every((kind) => kind.length === 0);
          });
          expect({ operation, afterMs, ...last }).toEqual({
            operation,
            afterMs,
            cgroups: [],
            files: [],
            processes: [],
          });
          owner.kill('SIGKILL');
        }
      }
    },
    120_000,
  );
