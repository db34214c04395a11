import { publishPorts } from '@ns/netns';
import { bindSocket } from '../src/ports/bound-socket.ts';

const here = { protocol: 'tcp', address: '127.0.0.1' } as const;

test('who has bound a TCP port has it, also before Node listens', () => {
  const { fd, port } = bindSocket({ ...here, port: 0 });
  using taken = fd;
  expect(() => bindSocket({ ...here, port })).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
  taken.close();
  bindSocket({ ...here, port }).fd.close();
});

test('of a range the next port is published, of one port it is said that it is in use', async () => {
  const { fd, port } = bindSocket({ ...here, port: 0 });
  using _ = fd;
  const publish = (to: number) => {
    const hostPorts = { from: port, to };
    return publishPorts({
      ports: [{ protocol: 'tcp', hostAddress: here.address, hostPorts, port: 80 }],
      address: '192.0.2.1',
    });
  };
  await expect(publish(port)).rejects.toMatchObject({ code: 'ERR_NS_PORT_IN_USE' });
  await using published = await publish(Math.min(port + 20, 65535));
  expect(published.ports[0]!.hostPort).toBeGreaterThan(port);
});
