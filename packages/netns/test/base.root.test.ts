import { execFileSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { address, link, NetNamespace, route } from '@ns/netns';
import { needs, notRoot } from '@ns/testing';
import { withPinDirectory } from './pin-directory.ts';

const rootTest = needs(notRoot);

/** Runs a program inside a namespace. */
function inside(netns: NetNamespace, command: string, args: readonly string[]): string {
  return execFileSync('nsenter', [`--net=/proc/${process.pid}/fd/${netns.fd}`, command, ...args]).toString();
}
const json = (netns: NetNamespace, ...args: string[]) =>
  JSON.parse(inside(netns, 'ip', ['-j', '-d', '-s', ...args])) as Record<string, unknown>[];

rootTest('two namespaces, a bridge and a ping between them', async () => {
  await using host = await NetNamespace.create();
  await using a = await NetNamespace.create();
  await using b = await NetNamespace.create();
  await link.createBridge({ name: 'br0', netns: host, up: true });
  await address.add('br0', '10.88.0.1/24', { netns: host });
  for (const [netns, name, ip] of [
    [a, 'va', '10.88.0.2/24'],
    [b, 'vb', '10.88.0.3/24'],
  ] as const) {
    const made = await link.createVeth({
      name,
      netns: host,
      master: 'br0',
      up: true,
      peer: { name: 'eth0', netns, up: true },
    });
    expect(made).toMatchObject({ name, kind: 'veth', master: 'br0', up: true });
    await address.add('eth0', ip, { netns });
    await route.add({ to: 'default', via: '10.88.0.1', netns });
  }
  expect(inside(a, 'ping', ['-c1', '-W2', '10.88.0.3'])).toMatch(/1 received/);
  expect((await link.list({ netns: host, master: 'br0' })).map(({ name }) => name).sort()).toEqual(['va', 'vb']);
  expect(json(a, 'route')).toMatchObject([{ dst: 'default', gateway: '10.88.0.1' }, { dst: '10.88.0.0/24' }]);
  await link.remove('va', { netns: host });
  expect(await link.get('eth0', { netns: a })).toBeUndefined();
});

rootTest('pins are what ip netns sees', () =>
  withPinDirectory(async () => {
    const name = `ns-test-${process.pid}`;
    const netns = await NetNamespace.create({ name });
    try {
      expect(await NetNamespace.list()).toContain(name);
      expect(execFileSync('ip', ['netns', 'exec', name, 'readlink', '/proc/self/ns/net']).toString().trim()).toBe(
        `net:[${netns.id}]`,
      );
      await expect(NetNamespace.create({ name })).rejects.toMatchObject({ code: 'EEXIST' });
      netns.close();
      const again = await NetNamespace.open({ name });
      expect(again.path).toBe(`/run/netns/${name}`);
      await again.delete();
      await again.delete();
      expect(await NetNamespace.list()).not.toContain(name);
    } finally {
      await netns.delete();
    }
  }),
);

rootTest('a namespace is opened by process, path and descriptor', async () => {
  const own = readlinkSync('/proc/self/ns/net');
  for (const reference of [{ pid: process.pid }, { path: '/proc/self/ns/net' }]) {
    using netns = await NetNamespace.open(reference);
    using copy = await NetNamespace.open({ fd: netns.fd });
    expect(`net:[${copy.id}]`).toBe(own);
  }
  await expect(NetNamespace.open({ path: '/etc/hostname' })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
  await expect(NetNamespace.open({ name: '../evil' })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
});

rootTest('no descriptor is left behind', async () => {
  await NetNamespace.create().then((netns) => netns.close());
  const before = readdirSync('/proc/self/fd').length;
  for (let round = 0; round < 20; round++) {
    await using netns = await NetNamespace.create();
    await link.createVeth({ name: 'v', netns, peer: { name: 'w', netns } });
    await link.list({ netns: { pid: process.pid } });
  }
  expect(readdirSync('/proc/self/fd').length).toBe(before);
});
