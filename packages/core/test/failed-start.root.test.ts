import { closeSync, mkdirSync, openSync, rmdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { Cgroup } from '@ns/cgroups';
import { limitDescriptors, needs, notRoot, processEntries } from '@ns/testing';
import { Container, run } from '../src/index.ts';
import { TerminalStreams } from '../src/terminal-streams.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* What this process cannot do for a start is the error of the start, and of what was made for it nothing stays. */

const rootTest = needs(notRoot);
const root = useOwnStateRoot();

// Node opens its one inotify descriptor for the first.
beforeAll(() => watch(root.path).close());

const children = () => processEntries().filter(({ parent }) => parent === process.pid);

for (const spec of [{}, { limits: { pids: 20 } }, { lifetime: { dieWithParent: false } }])
  rootTest(`a restart that cannot be written down: ${JSON.stringify(spec)}`, () =>
    leavesNothing(async () => {
      await using container = await Container.create({ command: ['true'], name: 'again', ...spec });
      await container.start();
      await container.wait();
      const before = children();
      const inTheWay = join(root.path, 'containers', container.id, `state.json.${process.pid}-${threadId}`);
      mkdirSync(inTheWay);
      await expect(container.start()).rejects.toMatchObject({ code: 'EISDIR' });
      expect(children()).toEqual(before);
      expect(container.status).toBe('stopped');
      // Whoever follows the log hears of its end.
      for await (const _ of container.logs({ follow: true }));
      rmdirSync(inTheWay);
      expect(await Container.list()).toMatchObject([{ id: container.id, status: 'stopped' }]);
      await container.start();
      expect(await container.wait()).toMatchObject({ exitCode: 0 });
      await container.remove();
    }),
  );

rootTest('what it has written is there after a start that failed late, as often as one likes', () =>
  leavesNothing(async () => {
    const command = ['sh', '-c', 'echo kept >> /kept; rm -r /place; echo > /place'];
    await using container = await Container.create({ command, cwd: '/place' });
    await container.start();
    await container.wait();
    for (let times = 0; times < 3; times++) {
      await expect(container.start()).rejects.toMatchObject({ errnoCode: 'ENOTDIR', step: { op: 'workingDirectory' } });
      expect((await container.diff()).map(({ path }) => path)).toEqual(['/kept', '/place']);
    }
  }),
);

rootTest('somebody ends one that outlives its maker before that is arranged', () =>
  leavesNothing(async () => {
    const { setOwner } = Cgroup.prototype;
    Cgroup.prototype.setOwner = function (monitor) {
      process.kill(monitor!, 'SIGKILL');
      while (processEntries().some(({ pid, state }) => pid === monitor && state !== 'Z'));
      setOwner.call(this, monitor);
    };
    try {
      await expect(Container.create({ command: ['true'], lifetime: { dieWithParent: false } })).rejects.toMatchObject({
        code: 'ERR_NS_CONTAINER_START',
        errnoCode: 'ECHILD',
      });
    } finally {
      Cgroup.prototype.setOwner = setOwner;
    }
  }),
);

/** The limit under which so many more descriptors can be opened. */
function limitFor(descriptors: number): number {
  const opened = Array.from({ length: descriptors + 1 }, () => openSync('/dev/null', 'r'));
  for (const fd of opened) closeSync(fd);
  return Math.max(...opened);
}

describe('a terminal that this process has no descriptors for', () => {
  const { connect } = TerminalStreams.prototype;
  let left: number;
  beforeEach(() => {
    TerminalStreams.prototype.connect = function (fd) {
      using _limit = limitDescriptors(limitFor(left));
      connect.call(this, fd);
    };
  });
  afterEach(() => {
    TerminalStreams.prototype.connect = connect;
  });

  const tty = true;
  const error = { code: 'ERR_NS_CONTAINER_START', errnoCode: 'EMFILE', hint: expect.stringContaining('ulimit') };
  const ways: Readonly<Record<string, (container: Container) => PromiseLike<unknown>>> = {
    run: () => run('true', [], { tty }),
    'run, its output read': async () => {
      const process = run('true', [], { tty, buffer: false });
      for await (const _ of process);
    },
    exec: (container) => container.exec('true', [], { tty }),
    start: async () => {
      await using container = await Container.create({ command: ['true'], tty });
      await container.start();
    },
  };
  for (const [name, begin] of Object.entries(ways))
    rootTest(name, () =>
      leavesNothing(async () => {
        await using container = await Container.create({ command: ['sleep', 'infinity'] });
        await container.start();
        let failures = 0;
        for (left = 0; left < 10; left++) {
          try {
            await begin(container);
            break;
          } catch (failure) {
            expect(failure).toMatchObject(error);
            failures++;
          }
        }
        expect(failures).toBe(3);
      }),
    );
});
