import { Container } from '@ns/core';

/* Has a container that keeps its writes in a directory of a size, until it is killed. */

const [dir = ''] = process.argv.slice(2);
const container = await Container.create({
  command: ['sh', '-c', 'echo before > /srv/before; sync; echo running; exec sleep 600'],
  writable: { dir, size: '16m' },
});
await container.start();
for await (const { data } of container.logs({ follow: true })) {
  process.stdout.write(data);
  break;
}
await container.wait();
