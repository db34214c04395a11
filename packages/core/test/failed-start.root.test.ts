import { mkdirSync, rmdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { needs, notRoot, processEntries } from '@ns/testing';
import { Container } from '../src/index.ts';
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
