import { Container, Wait } from '@ns/core';

/* Makes a container, lets it go, finds it again and does with it what one does; prints what came of it. */

const made = await Container.create({
  command: ['sh', '-c', 'trap "exit 6" TERM; echo up; while :; do sleep 0.02; done'],
  wait: Wait.log('up'),
  lifetime: { dieWithParent: false },
});
await made.start();
made.detach();
const found = await Container.get(made.id);
const { stdout } = await found.exec('id', ['-u']);
await found.stop();
const { exitCode, stdout: output } = await found.wait();
await found.remove();
process.stdout.write(JSON.stringify({ stdout, exitCode, output, left: await Container.list() }));
