import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { Container, Network, run } from '../../src/index.ts';

/* Does one thing with containers on networks over and over until it is ended: `killed-network-owner OPERATION [worker]`. 'web', 'other' and 'upper' are there already. */

const [operation, thread] = process.argv.slice(2) as [string, string | undefined];
const command = ['sleep', '600'];
const egress = { allow: ['10.1.0.0/16', 'a.example.com'] };

async function started(options: object): Promise<Container> {
  const container = await Container.create({ command, ...options });
  await container.start();
  return container;
}

async function life(options: object): Promise<void> {
  const container = await started(options);
  await container.remove({ force: true });
}

const forever = () => new Promise(() => setInterval(() => {}, 1000));

async function running(options: object): Promise<typeof forever> {
  await started(options);
  return forever;
}

/** What goes before, and what is cut short. */
const operations: Readonly<Record<string, () => Promise<() => PromiseLike<unknown>>>> = {
  plain: async () => () => life({ network: 'web' }),
  ports: async () => () => life({ network: 'web', ports: ['0:80', '0:53/udp'] }),
  policed: async () => () => life({ network: 'web', ports: ['0:80'], egress }),
  own: async () => () => life({ ports: ['0:80'] }),
  'own with a policy': async () => () => life({ ports: ['0:80'], egress }),
  several: async () => () => life({ network: ['other', 'web'], ports: ['0:80'], egress }),
  'running own': async () => running({ ports: ['0:80'] }),
  'running own with a policy': async () => running({ ports: ['0:80'], egress }),
  upper: async () => () => life({ network: 'upper' }),
  run: async () => () => run('true', [], { network: 'web', ports: ['0:80'] }),
  async lasting() {
    const lasting = { stdin: 'null', lifetime: { dieWithParent: false } };
    const container = await started({ network: 'web', ports: ['0:80'], egress, name: 'lasting', ...lasting });
    await (await Network.get('other')).connect(container);
    return forever;
  },
  async connect() {
    const container = await started({ network: 'web', egress });
    const other = await Network.get('other');
    return async () => {
      await other.connect(container);
      await other.disconnect(container);
    };
  },
  async update() {
    const container = await started({ network: 'web', egress });
    return () => container.update({ egress: { allow: [`10.${Math.floor(Math.random() * 256)}.0.0/16`] } });
  },
  async restart() {
    const container = await started({ network: 'web', ports: ['0:80'], egress });
    return () => container.restart({ timeout: 0 });
  },
};

const say = (word: string) => process.stdout.write(`${word}\n`);

if (thread === 'worker' && isMainThread) {
  const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) });
  worker.once('message', say);
  process.stdin.once('data', async () => {
    await worker.terminate();
    say('terminated');
  });
} else {
  const act = await operations[operation]!();
  if (isMainThread) say('begins');
  else parentPort!.postMessage('begins');
  for (;;) await act();
}
