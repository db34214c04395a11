import { parsePortSpec, publishPorts, route } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { client, ResourceStack, scene, serve, TCP_CLIENT, TCP_SERVER } from './scene.ts';

const test = needs(notRoot);

test('the proxy leads to the address of the other version, where the one that was asked does not answer', async () => {
  await using scope = new ResourceStack();
  const { host, outside, b, firewall } = await scene(scope);
  const publish = (spec: string) =>
    publishPorts({ ports: parsePortSpec(spec), address: '10.88.1.3', address6: 'fd00:1::3', firewall });
  const [byFour, byBoth] = [TCP_SERVER.replace("'::'", "'0.0.0.0'"), TCP_SERVER.replace('80', '81')];
  await serve(scope, b, 'four', byFour);
  await serve(scope, b, 'both', byBoth);
  await using _four = await publish('8080:80');
  await using _both = await publish('8081:81');
  await using _none = await publish('8082:82');
  const ask = (port: number) => client(host, TCP_CLIENT, '::1', port);
  expect(await ask(8080)).toBe('four saw 10.88.1.1 hello');
  expect(await ask(8081)).toBe('both saw fd00:1::1 hello');
  expect(await ask(8082)).toBe('ECONNRESET');
  // Its answers get lost, as with rules in it that drop.
  await route.add({ to: 'fd00:1::1', kind: 'blackhole', netns: b });
  const began = performance.now();
  expect(await ask(8081)).toBe('both saw ::ffff:10.88.1.1 hello');
  expect(performance.now() - began).toBeLessThan(5_000);
  // What the kernel leads keeps the address it came from.
  expect(await client(outside, TCP_CLIENT, '198.51.100.1', 8080)).toBe('four saw 198.51.100.2 hello');
});
