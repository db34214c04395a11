import childProcess, { type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { entrust } from '@ns/launch';
import { CLONE, check, O, open, SYS, syscall } from '@ns/libc';
import { BridgeNetwork, NetNamespace } from '@ns/netns';

/*
 * Does something with a network and dies before its n-th step: a file or a message to the kernel, or just after it gave nft
 * something to do. Ends by itself when there are fewer. What it makes can be entrusted to its caretaker.
 */

const [operation, stateRoot, host, step, whose] = process.argv.slice(2) as [string, string, string, string, string?];
const entrusted = whose === 'entrusted';
if (entrusted) {
  using namespace = open(host, O.RDONLY);
  check('setns', syscall(SYS.setns, namespace.fd, CLONE.NEWNET));
}
const options = { ...(entrusted ? { entrust } : { netns: { path: host } }), stateRoot, upstreams: [] };
const netns = await NetNamespace.create();
const connect = (network: BridgeNetwork) =>
  network.connect({
    owner: 'victim',
    netns,
    ports: ['8080:80'],
    egress: { allow: ['a.example.com'] },
    ...(entrusted && { entrust }),
  });

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
const { spawn } = childProcess;
childProcess.spawn = ((...args: Parameters<typeof spawn>): ChildProcess => {
  const child = spawn(...args);
  if (--left === 0) child.stdin?.once('finish', () => process.kill(process.pid, 'SIGKILL'));
  return child;
}) as typeof spawn;
syncBuiltinESMExports();
dieInTurn(Object.getPrototypeOf(netns.socket), ['exchange', 'transaction', 'request']);
await cutShort();
console.log('done');
process.exit();
