import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { BridgeNetwork, NetNamespace } from '@ns/netns';

/* Connects a container and dies before its n-th step: a file or a message to the kernel. Ends by itself when there are fewer. */

const [stateRoot, host, step] = process.argv.slice(2) as [string, string, string];
const netns = await NetNamespace.create();
const network = await BridgeNetwork.open('web', { netns: { path: host }, stateRoot, upstreams: [] });

let left = Number(step);
function dieInTurn(object: object, method: string): void {
  const original = Reflect.get(object, method) as (...args: unknown[]) => unknown;
  Reflect.set(object, method, function (this: unknown, ...args: unknown[]) {
    if (--left === 0) process.kill(process.pid, 'SIGKILL');
    return original.apply(this, args);
  });
}
for (const method of ['writeFileSync', 'linkSync', 'unlinkSync', 'renameSync']) dieInTurn(fs, method);
syncBuiltinESMExports();
for (const method of ['exchange', 'transaction']) dieInTurn(Object.getPrototypeOf(netns.socket), method);

await network.connect({ owner: 'victim', netns, ports: ['8080:80'], egress: { allow: ['a.example.com'] } });
console.log('connected');
process.exit();
