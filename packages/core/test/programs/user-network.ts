import { Container, type NsError, prune, run, Wait } from '../../src/index.ts';

/* What an ordinary user sees of networks. Prints one JSON object. With arguments: has a network until it is killed, and says so;
   leaves a container that has one, and says which; removes one that was left; removes what is left of all; is killed when it has
   made one that outlives it; connects one after the other. */

const [what, id] = process.argv.slice(2);
if (what === 'leave') {
  const left = await Container.create({
    command: ['sleep', '600'],
    network: 'user',
    ports: ['127.0.0.1:0:80'],
    lifetime: { dieWithParent: false },
  });
  await left.start();
  console.log(left.id);
  await left.detach();
  process.exit();
}
if (what === 'make and be killed') {
  const lifetime = { dieWithParent: false };
  await Container.create({ command: ['sleep', '600'], network: 'user', ports: ['0:80'], lifetime });
  process.kill(process.pid, 'SIGKILL');
}
if (what === 'connect') {
  for (;;) await run('true', [], { network: 'user', ports: ['0:80'] });
}
if (what === 'ports') {
  console.log(JSON.stringify((await Container.get(id!)).ports));
  process.exit();
}
if (what === 'remove') {
  await (await Container.get(id!)).remove({ force: true });
  process.exit();
}
if (what === 'kill and prune') {
  process.kill((await Container.get(id!)).pid!, 'SIGKILL');
  while ((await Container.get(id!)).status !== 'stopped');
  await prune();
  process.exit();
}
if (what !== undefined) {
  const container = await Container.create({ command: ['sleep', '600'], ports: ['127.0.0.1:0:80'] });
  await container.start();
  console.log('running');
  await container.wait();
}

const links = "sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev";
const { stdout } = await run('sh', ['-c', `${links}; cat /etc/resolv.conf`], { network: 'user', dns: ['192.0.2.53'] });

const script = "require('http').createServer((q, r) => r.end('from inside')).listen(80, () => console.log('up'))";
await using c = await Container.create({
  command: [process.execPath, '-e', script],
  ports: ['127.0.0.1:0:80'],
  wait: Wait.log('up'),
});
await c.start();
const [port] = c.ports;
const answer = await (await fetch(`http://127.0.0.1:${port!.hostPort}/`)).text();

const refused = await Container.create({ command: ['true'], network: 'web' }).then(
  () => undefined,
  ({ code, hint }: NsError) => ({ code, hint }),
);
console.log(JSON.stringify({ stdout, port, answer, refused }));
