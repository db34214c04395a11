import { existsSync, readdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import { detectCgroups } from '@ns/cgroups';
import { getXattr, hasCode, O, open } from '@ns/libc';
import { leaveDescriptors, needs, notRoot } from '@ns/testing';
import { Container, Network, prune, run } from '../src/index.ts';
import { cgroupDirectories, leavesNothing, remaining, useOwnStateRoot } from './leaves-nothing.ts';

/* RLIMIT_NOFILE reached at any moment: what cannot begin says so and leaves nothing, and what is there can be ended. */

const rootTest = needs(notRoot);
const root = useOwnStateRoot();
const limits = { pids: 20, memory: '64MiB' };
const used = {
  code: expect.stringMatching(/^(EMFILE|ERR_NS_)/),
  hint: expect.stringMatching(/RLIMIT_NOFILE|ulimit|Raise it/),
};

// Node opens its one inotify descriptor for the first.
beforeAll(() => watch(root.path).close());

/** Cgroups of containers that this process has made. Others are there, of tests that run at the same time. */
function ownCgroups(): string[] {
  const parents = detectCgroups().hierarchies.map(({ mountPoint }) => join(mountPoint, 'ns'));
  return parents.filter(existsSync).flatMap((parent) => {
    using directory = open(parent, O.RDONLY | O.DIRECTORY);
    return readdirSync(parent).filter((name) => name.startsWith('ns-') && isOwn(directory.fd, name));
  });
}

function isOwn(parentFd: number, name: string): boolean {
  try {
    const [owner] = ['user.ns.owner', 'trusted.ns.owner'].map((mark) => getXattr(parentFd, name, mark));
    return owner?.toString().startsWith(`${process.pid} `) ?? false;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}

const ways: Readonly<Record<string, () => Promise<unknown>>> = {
  run: async () => expect(await run('true', [], { limits })).toMatchObject({ exitCode: 0 }),
  'many at once': async () => {
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => run('true')));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  },
  'a container, and its name': async () => {
    await using container = await Container.create({ command: ['true'], name: 'exhausted', limits });
    await container.start();
    expect(await container.wait()).toMatchObject({ exitCode: 0 });
  },
  'a container that outlives us': async () => {
    const lifetime = { dieWithParent: false };
    await using container = await Container.create({ command: ['true'], name: 'exhausted', limits, lifetime });
    await container.start();
    expect(await container.wait()).toMatchObject({ exitCode: 0 });
  },
  'a container with its output in files': async () => {
    for (const format of ['json', 'raw'] as const) {
      await using container = await Container.create({ command: ['true'], log: { format } });
      await container.start();
      await container.wait();
    }
  },
};
for (const [name, begin] of Object.entries(ways))
  rootTest(`begun with ever more descriptors: ${name}`, () =>
    leavesNothing(async () => {
      await begin();
      let successes = 0;
      for (let left = 0; left < 100 && successes < 3; left++) {
        try {
          using _limit = leaveDescriptors(left);
          await begin();
          successes++;
        } catch (error) {
          expect(error).toMatchObject(used);
        }
      }
      expect(successes).toBe(3);
      expect(ownCgroups()).toEqual([]);
    }),
  );

const lifetimes = [{ dieWithParent: true }, { dieWithParent: false }];
const ends: Readonly<Record<string, (container: Container) => Promise<unknown>>> = {
  kill: (container) => container.kill('SIGKILL'),
  stop: (container) => container.stop({ signal: 'SIGKILL' }),
  remove: (container) => container.remove({ force: true }),
};
for (const lifetime of lifetimes)
  for (const [name, end] of Object.entries(ends))
    rootTest(`ended without any descriptor left: ${name}, ${JSON.stringify(lifetime)}`, () =>
      leavesNothing(async () => {
        await using container = await Container.create({ command: ['sleep', 'infinity'], limits, lifetime });
        await container.start();
        const cgroups = cgroupDirectories(container.pid!);
        {
          using _limit = leaveDescriptors(0);
          await end(container);
          if (name !== 'remove') expect(await container.wait()).toMatchObject({ signal: 'SIGKILL' });
        }
        expect(remaining(cgroups)).toEqual([]);
      }),
    );

rootTest('connected to one more network with ever more descriptors', () =>
  leavesNothing(async () => {
    await using network = await Network.create({ name: 'exhausted', subnet: '10.247.33.0/24' });
    await using container = await Container.create({ command: ['sleep', 'infinity'] });
    await container.start();
    let successes = 0;
    for (let left = 0; left < 100 && successes < 3; left++) {
      try {
        using _limit = leaveDescriptors(left);
        await network.connect(container);
        await network.disconnect(container);
        successes++;
      } catch (error) {
        expect(error).toMatchObject(used);
      }
      // Half connected by a way that was not to be had.
      await network.disconnect(container);
    }
    expect(successes).toBe(3);
    expect(await network.inspect()).toMatchObject({ containers: [] });
  }),
);

rootTest('who lives is not taken for dead', () =>
  leavesNothing(async () => {
    await using container = await Container.create({ command: ['sleep', 'infinity'], limits });
    await container.start();
    for (let left = 0; left < 12; left++) {
      using _limit = leaveDescriptors(left);
      expect(await Container.list()).toMatchObject([{ id: container.id, status: 'running' }]);
      await prune().catch(() => {});
      expect(container.status).toBe('running');
    }
  }),
);

for (const lifetime of lifetimes)
  rootTest(`who finds it does it no harm: ${JSON.stringify(lifetime)}`, () =>
    leavesNothing(async () => {
      const container = await Container.create({ command: ['sleep', 'infinity'], limits, lifetime });
      await container.start();
      const { pid } = container;
      let successes = 0;
      for (let left = 0; left < 100 && successes < 3; left++) {
        try {
          using _limit = leaveDescriptors(left);
          const found = await Container.get(container.id);
          successes++;
          expect(found.pid).toBe(pid);
          await found[Symbol.asyncDispose]();
        } catch (error) {
          expect(error).toMatchObject(used);
        }
        expect(container.status).toBe('running');
      }
      expect(successes).toBe(3);
      await container.remove({ force: true });
    }),
  );
