import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needs, notRoot } from '@ns/testing';
import { Container, Network } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* Somebody kills a container while something is being done with it: that is what the error is about, not a file of /proc. */

const rootTest = needs(notRoot);
useOwnStateRoot();

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'core-test-'));
  writeFileSync(join(directory, 'file'), 'content');
});
afterAll(() => rmSync(directory, { recursive: true }));

type Act = (container: Container, network: Network) => PromiseLike<unknown>;
const acts: Readonly<Record<string, Act>> = {
  exec: (container) => container.exec('true'),
  'exec of another user': (container) => container.exec('true', [], { user: 'nobody' }),
  copyIn: (container) => container.copyIn(join(directory, 'file'), '/tmp/file'),
  copyOut: (container) => container.copyOut('/etc/hostname', join(directory, 'copied')),
  export: (container) => container.export({ exclude: (path) => path !== 'etc/hostname' }).toArray(),
  mount: (container) => container.mount({ type: 'tmpfs', target: '/mnt' }),
  update: (container) => container.update({ limits: { pids: 40 } }),
  pause: (container) => container.pause(),
  stats: (container) => container.stats(),
  processes: (container) => container.processes(),
  connect: (container, network) => network.connect(container),
};

/** Of a moment before, or of this one. */
const expected = ['ERR_NS_CONTAINER_NOT_RUNNING', 'ERR_NS_CONTAINER_NOT_OURS', 'ERR_NS_NO_LAYER'];
const ROUNDS = 6;

rootTest(
  'what is being done with a container that is killed',
  async () => {
    await using network = await Network.create({ name: 'ended' });
    const unexpected: unknown[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (const [name, act] of Object.entries(acts)) {
        await using container = await Container.create({ command: ['sleep', 'infinity'], limits: { pids: 30 } });
        await container.start();
        // By its maker, or by who has found it.
        const hand = round % 3 === 2 ? await Container.get(container.id) : container;
        const killIt = () => process.kill(container.pid!, 'SIGKILL');
        // At once, the kernel being the first to know; or in the middle of it.
        if (round % 2 === 0) killIt();
        const acting = Promise.resolve(act(hand, network));
        if (round % 2 === 1) setTimeout(killIt, round / 2);
        await acting.catch((error) => {
          if (!expected.includes(error.code)) unexpected.push([name, error]);
        });
        await container.wait();
      }
    }
    expect(unexpected).toEqual([]);
    expect((await network.inspect()).containers).toEqual([]);
    // An export looks at all of the host's root, however large that is.
  },
  60_000,
);

rootTest('two calls that connect a container at once', async () => {
  await using one = await Network.create({ name: 'one' });
  await using two = await Network.create({ name: 'two' });
  await using container = await Container.create({ command: ['sleep', 'infinity'] });
  await container.start();
  await Promise.all([one.connect(container), two.connect(container)]);
  const again = await Promise.allSettled([one.connect(container), one.connect(container), one.disconnect(container)]);
  // In whatever order, never two at once.
  expect(again.map((call) => (call.status === 'rejected' ? call.reason.code : 'done'))).toContain(
    'ERR_NS_NETWORK_CONNECTED',
  );
  expect((await one.inspect()).containers.length).toBe(Object.keys(container.networks).length - 1);
});
