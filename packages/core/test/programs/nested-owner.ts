import { Container } from '@ns/core';

/* Has a container of this specification until it is killed, and prints the pid of its first process. */

const [spec = '{}'] = process.argv.slice(2);
const container = await Container.create({ command: ['sleep', '600'], ...JSON.parse(spec) });
await container.start();
process.stdout.write(`${container.pid}\n`);
await container.wait();
