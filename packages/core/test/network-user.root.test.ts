import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync } from 'node:fs';
import { CLONE, check, SYS, syscall } from '@ns/libc';
import { installedUserNetworks } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { makeOutside, useOwnHost } from './network-host.ts';
import { NodeProgram } from './node-program.ts';

const missing =
  notRoot ?? (installedUserNetworks().length > 0 ? undefined : 'neither pasta nor slirp4netns is installed');
const test = needs(missing);
const { stateRoot } = useOwnHost();

test('an ordinary user has the network of the host, and ports', async () => {
  // Both programs look for the way out of the host.
  using outside = await makeOutside();
  const { route } = await import('@ns/netns');
  await route.add({ to: 'default', via: '198.51.100.2' });
  openTunDevice(stateRoot);
  using program = new NodeProgram('user-network');
  const user = 65_534;
  chmodSync(stateRoot, 0o755);
  chownSync(stateRoot, user, user);
  const { exitCode, stdout, stderr } = await program.run([], {
    uid: user,
    gid: user,
    env: { NS_STATE_ROOT: stateRoot },
  });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const seen = JSON.parse(stdout);
  expect(seen.stdout).toMatch(/^lo\n\w+\nnameserver 192.0.2.53\n$/);
  expect(seen.port).toMatchObject({ protocol: 'tcp', hostAddress: '127.0.0.1', port: 80 });
  expect(seen.answer).toBe('from inside');
  expect(seen.refused).toMatchObject({ code: 'ERR_NS_UNAVAILABLE', hint: expect.stringContaining("network: 'user'") });
  expect(outside.fd).toBeGreaterThan(0);
});

/** In a mount namespace of our own: as most distributions have it, any user may open /dev/net/tun. */
function openTunDevice(directory: string): void {
  check('unshare', syscall(SYS.unshare, CLONE.NEWNS));
  const node = `${directory}/tun`;
  execFileSync('sh', [
    '-c',
    `mount --make-rprivate / && mknod -m 666 ${node} c 10 200 && mount --bind ${node} /dev/net/tun && rm ${node}`,
  ]);
}
