import { Container, type ContainerSpec, Network, run, Wait } from '@ns/core';
import { needs, notRoot } from '@ns/testing';
import { useOwnHost } from './network-host.ts';

const test = needs(notRoot);
useOwnHost();

const server = (text: string, port = 80) =>
  `require('http').createServer((q, r) => r.end('${text} for ' + q.socket.remoteAddress)).listen(${port}, '::', () => console.log('up'))`;
const get = (url: string) =>
  `fetch('${url}', { signal: AbortSignal.timeout(3000) }).then((r) => r.text()).then((t) => process.stdout.write(t), (e) => process.stdout.write(String(e.cause?.code ?? e.name)))`;
const node = (script: string): [string, string[]] => [process.execPath, ['-e', script]];

async function serve(text: string, spec: Partial<ContainerSpec>): Promise<Container> {
  const c = await Container.create({
    command: [process.execPath, '-e', server(text)],
    wait: Wait.log('up'),
    ...spec,
  });
  await c.start();
  return c;
}

test('a container is found by its name, from another one and through a published port', async () => {
  await using network = await Network.create({ name: 'web', dns: [] });
  await using web = await serve('hello', { name: 'web', network, ports: ['127.0.0.1:0:80'] });
  const ip = web.networks.web!.address!;
  const { stdout } = await run(...node(get('http://web/')), { network: 'web' });
  expect(stdout).toMatch(/^hello for /);
  const [port] = web.ports;
  expect(port).toMatchObject({ protocol: 'tcp', port: 80, address: ip });
  const answer = await fetch(`http://127.0.0.1:${port!.hostPort}/`);
  expect(await answer.text()).toContain('hello for');
  expect((await web.exec('cat', ['/etc/hosts'])).stdout).toContain(`${ip}\t${web.id.slice(0, 12)} web`);
  expect(await Network.list()).toMatchObject([{ name: 'web', containers: [{ id: web.id, address: ip }] }]);
  await expect(network.remove()).rejects.toMatchObject({ code: 'ERR_NS_NETWORK_IN_USE', containers: [web.id] });
});
