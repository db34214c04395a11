import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { BridgeNetwork, NetNamespace } from '@ns/netns';

/*
 * Does something with a network and dies before its n-th step: a file or a message to the kernel. Ends by itself when
 * there are fewer.
 */

const [operation, stateRoot, host, step] = process.argv.slice(2) as [string, string, string, string];
const options = { netns: { path: host }, stateRoot, upstreams: [] };
const netns = await NetNamespace.create();
const connect = (network: BridgeNetwork) =>
  network.connect({ owner: 'victim', netns, ports: ['8080:80'], egress: { allow: ['a.example.com'] } });

// What goes before, and what is cut short.
const operations: Readonly<Record<string, () => Promise<() => Promise<unknown>>>> = {
  async create() {
    return () =>
      BridgeNetwork.create({ name: 'half', subnet: '10.78.0.0/24', ipv6: 'none', egress: { allow: [] }, ...options });
  },
  async remove() {
    const network = await BridgeNetwork.open('half', options);
    return () => network.remove();
  },
  async connect() {
    const network = await BridgeNetwork.open('web', options);
    return () => connect(network);
  },
  async disconnect() {
    const network = await BridgeNetwork.open('web', options);
    await connect(network);
    return () => network.disconnect('victim');
  },
};

const cutShort = await operations[operation]!();
let left = Number(step);
function dieInTurn(object: object, methods: readonly string[]): void {
  for (const method of methods) {
    const original = Reflect.get(object, method) as (...args: unknown[]) => unknown;
    Reflect.set(object, method, function (this: unknown, ...args: unknown[]) {
      if (--left === 0) process.kill(process.pid, 'SIGKILL');
      return original.apply(this, args);
    });
  }
}
dieInTurn(fs, ['mkdirSync', 'writeFileSync', 'symlinkSync', 'unlinkSync', 'renameSync', 'rmSync']);
dieInTurn(fs.promises, ['writeFile', 'rename', 'rm']);
syncBuiltinESMExports();
dieInTurn(Object.getPrototypeOf(netns.socket), ['exchange', 'transaction', 'request']);
await cutShort();
console.log('done');
process.exit();
