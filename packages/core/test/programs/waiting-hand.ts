import { Container } from '@ns/core';

/* Waits for the end of a container of another process: `waiting-hand ID`. Says what it knows by then. */

await using c = await Container.get(process.argv[2]!);
process.stdout.write('found\n');
process.stdout.write(`${(await c.wait()).signal}\n`);
