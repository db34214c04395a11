// A mini PaaS: three replicas of a service behind one port, checked for health, replaced one after another by the next
// release, while requests come in. None of them fails.
import { createServer, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Container, Network, Wait } from '@ns/core';

const service = `
  const { createServer } = require('node:http');
  const server = createServer((request, response) => response.end(process.env.RELEASE)).listen(80);
  // Answers what it has begun to answer.
  process.on('SIGTERM', () => server.close(() => process.exit(0)));
`;

/** Starts one replica; it is there when it is well. */
async function startReplica(network: Network, release: string): Promise<Container> {
  const replica = await Container.create({
    command: [process.execPath, '-e', service],
    env: { RELEASE: release },
    labels: { service: 'hello', release },
    network,
    ports: ['127.0.0.1:0:80'],
    limits: { memory: '128MiB', pids: 64 },
    health: {
      command: [process.execPath, '-e', "fetch('http://127.0.0.1/').catch(() => process.exit(1))"],
      interval: 1000,
      startPeriod: 60_000,
    },
    restart: 'on-failure',
    wait: Wait.all([Wait.http('/', { port: 80 }), Wait.health()], { timeout: 60_000 }),
  });
  try {
    await replica.start();
  } catch (error) {
    await replica.remove({ force: true });
    throw error;
  }
  return replica;
}

/** A service with replicas, and the port at which it is reached. */
class Service implements AsyncDisposable {
  readonly #network: Network;
  #replicas: Container[] = [];
  #turn = 0;
  readonly #front = createServer((incoming, response) => this.#forward(incoming.url ?? '/', response));

  constructor(network: Network) {
    this.#network = network;
  }

  async deploy(release: string, count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      // The new one first: there are never fewer than before.
      const replica = await startReplica(this.#network, release);
      const [old] = this.#replicas.filter(({ labels }) => labels.release !== release);
      this.#replicas = [...this.#replicas.filter((one) => one !== old), replica];
      await old?.stop();
      await old?.remove();
    }
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#front.listen(0, '127.0.0.1', resolve));
    return (this.#front.address() as AddressInfo).port;
  }

  #forward(path: string, response: ServerResponse): void {
    const well = this.#replicas.filter(({ health }) => health?.status === 'healthy');
    const replica = well[this.#turn++ % well.length];
    const port = replica?.ports[0]?.hostPort;
    if (port === undefined) {
      response.writeHead(503).end();
      return;
    }
    request({ host: '127.0.0.1', port, path, agent: false }, (answer) => answer.pipe(response))
      // It was about to go: the next one answers.
      .on('error', () => this.#forward(path, response))
      .end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#front.close();
    await Promise.all(this.#replicas.map((replica) => replica.remove({ force: true })));
  }
}

await using network = await Network.create({ name: 'paas' });
await using hello = new Service(network);
await hello.deploy('1', 3);
const port = await hello.listen();
const ask = async () => {
  const answer = await fetch(`http://127.0.0.1:${port}/`);
  return answer.ok ? await answer.text() : `error ${answer.status}`;
};
console.log('three replicas say:', [await ask(), await ask(), await ask()].join(' '));

const answers: Record<string, number> = {};
let deploying = true;
const customers = Array.from({ length: 4 }, async () => {
  while (deploying) {
    const answer = await ask();
    answers[answer] = (answers[answer] ?? 0) + 1;
  }
});
await hello.deploy('2', 3);
deploying = false;
await Promise.all(customers);
console.log('while release 2 came, customers heard:', Object.keys(answers).sort().join(', '));
console.log('now they say:', [await ask(), await ask(), await ask()].join(' '));
