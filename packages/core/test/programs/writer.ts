import { Container } from '@ns/core';

/* Has a container of a specification: prints its id, and lives on until it is killed, or lets the container outlive it. */

const spec = JSON.parse(process.argv[2]!);
const container = await Container.create({ command: ['sleep', '600'], ...spec });
await container.start();
const outlivesUs = spec.lifetime?.dieWithParent === false;
if (outlivesUs) container.detach();
else setInterval(() => {}, 60_000);
process.stdout.write(container.id);
