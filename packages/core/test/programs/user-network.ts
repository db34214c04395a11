import { Container, type NsError, run, Wait } from '../../src/index.ts';

/* What an ordinary user sees of networks. Prints one JSON object. With an argument: has a network until it is killed, and says so. */

if (process.argv[2] !== undefined) {
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
