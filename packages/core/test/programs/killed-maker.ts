import { Container } from '@ns/core';

/* Makes a container that could survive this process, which is killed before it has started it. */

await Container.create({ command: ['sleep', 'infinity'], lifetime: { dieWithParent: false }, limits: { pids: 64 } });
process.kill(process.pid, 'SIGKILL');
