import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* A disk that is full when a container runs: what is asked of it happens, and is not said to have failed. */

const rootTest = needs(notRoot);
const root = useOwnStateRoot();
const limits = { pids: 20 };

const told: string[] = [];
const { emitWarning } = process;
beforeEach(() => {
  told.length = 0;
  process.emitWarning = (warning: string | Error) => void told.push(String(warning));
});
afterEach(() => {
  process.emitWarning = emitWarning;
});

/** Nothing can be written down of a container meanwhile. */
function unwritable({ id }: Container): Disposable {
  const inTheWay = join(root.path, 'containers', id, `state.json.${process.pid}-${threadId}`);
  mkdirSync(inTheWay);
  return { [Symbol.dispose]: () => rmdirSync(inTheWay) };
}

const aboutState = /^container [0-9a-f]{12} (is|was) .*, which could not be written down: .*EISDIR/;

const ends: Readonly<Record<string, (container: Container) => Promise<void>>> = {
  kill: (container) => container.kill('SIGKILL'),
  stop: (container) => container.stop({ signal: 'SIGKILL' }),
};
for (const [name, end] of Object.entries(ends))
  rootTest(`${name}, with a restart policy`, () =>
    leavesNothing(async () => {
      await using container = await Container.create({ command: ['sleep', 'infinity'], restart: 'always', limits });
      await container.start();
      {
        using _full = unwritable(container);
        await end(container);
        expect(container.status).toBe('stopped');
        expect(await container.wait()).toMatchObject({ signal: 'SIGKILL' });
      }
      expect(told).toContainEqual(expect.stringMatching(aboutState));
      expect(await Container.list()).toMatchObject([{ id: container.id, status: 'stopped' }]);
      await container.start();
      expect(container.status).toBe('running');
    }),
  );

rootTest('start, pause and resume', () =>
  leavesNothing(async () => {
    await using container = await Container.create({ command: ['sleep', 'infinity'], limits });
    const events: string[] = [];
    for (const type of ['start', 'pause', 'resume'] as const) container.on(type, () => events.push(type));
    {
      using _full = unwritable(container);
      await container.start();
      await container.pause();
      expect(container.status).toBe('paused');
      await container.resume();
      expect(container.status).toBe('running');
    }
    expect(events).toEqual(['start', 'pause', 'resume']);
    expect(told).toContainEqual(expect.stringMatching(aboutState));
  }),
);

rootTest('who would start it again must know that it is to rest', () =>
  leavesNothing(async () => {
    await using container = await Container.create({ command: ['sleep', 'infinity'], restart: 'always', limits });
    await container.start();
    await using found = await Container.get(container.id);
    {
      using _full = unwritable(container);
      await expect(found.stop()).rejects.toMatchObject({ code: 'EISDIR' });
      expect(container.status).toBe('running');
    }
    await found.stop({ signal: 'SIGKILL' });
    expect(container.status).toBe('stopped');
  }),
);
