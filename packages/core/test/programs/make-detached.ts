import { Container } from '@ns/core';

/* Makes a container that survives this process, prints its id, and ends: `make-detached SCRIPT [NAME [PORT]]`. */

const [script, name, port] = process.argv.slice(2);
const c = await Container.create({
  command: ['sh', '-c', script!],
  lifetime: { dieWithParent: false },
  limits: { memory: '64MiB' },
  ...(name !== undefined && { name }),
  ...(port !== undefined && { ports: [port] }),
});
await c.start();
c.detach();
process.stdout.write(c.id);
