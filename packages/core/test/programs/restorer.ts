/* Restores a checkpoint: `restorer.mjs DIRECTORY`. Says the pids of monitor and init, then what the container says, then its exit code. */
import { readFileSync } from 'node:fs';
import { Container } from '@ns/core';

const container = await Container.restore({ directory: process.argv[2]! });
const restorer = /^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${container.pid}/status`, 'utf8'))![1];
console.log(`init ${container.pid} restorer ${restorer}`);
for await (const { data } of container.logs({ follow: true })) process.stdout.write(data);
console.log(`exit ${(await container.wait()).exitCode}`);
await container.remove();
