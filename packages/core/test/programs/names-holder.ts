import { setTimeout as delay } from 'node:timers/promises';
import { Container } from '@ns/core';

/* Makes two containers, of which another process takes the first away. */

const removed = await Container.create({ command: ['sleep', '600'], name: 'removed' });
await Container.create({ command: ['true'], name: 'last' });
await removed.start();
const forgotten = new Promise<void>((resolve) => removed.on('remove', () => resolve()));
process.stdout.write('made\n');
await forgotten;
process.stdout.write('heard\n');
await delay(60_000);
