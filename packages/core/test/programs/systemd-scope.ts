import { createDelegatedScope } from '@ns/cgroups';
import { Container, run } from '../../src/index.ts';

/* Asks systemd for a scope and runs in it what needs limits. Prints what came of it as JSON. */

const { unit, host } = await createDelegatedScope();
const limits = { memory: '24MiB', memorySwap: '24MiB', pids: 32 };
const hog = await run('tail', ['/dev/zero'], { limits });
await using container = await Container.create({ command: ['sleep', '60'], limits });
await container.start();
const { pids } = await container.stats();
console.log(JSON.stringify({ unit, own: host.unified?.ownPath, hog: hog.reason, pidsMax: pids?.max }));
