import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BridgeNetwork, link, NetNamespace } from '@ns/netns';
import { eventually, needs, notRoot } from '@ns/testing';
import { NodeProgram } from './node-program.ts';

const test = needs(notRoot);

test('a process killed before any step of connecting leaves nothing that prune does not find', async () => {
  const stateRoot = mkdtempSync(join(tmpdir(), 'network-'));
  await using host = await NetNamespace.create();
  const at = `/proc/${process.pid}/fd/${host.fd}`;
  const nft = (...args: string[]) => execFileSync('nsenter', [`--net=${at}`, 'nft', ...args], { encoding: 'utf8' });
  const publishedPorts = () => nft('list', 'map', 'inet', 'ns', 'publish4');
  try {
    await using network = await BridgeNetwork.create({
      name: 'web',
      subnet: '10.77.0.0/24',
      ipv6: 'none',
      netns: host,
      stateRoot,
      upstreams: [],
    });
    using program = new NodeProgram('network-killed');
    let steps = 0;
    for (let survived = false; !survived; steps++) {
      const { signal, stdout, stderr } = await program.run([stateRoot, at, String(steps + 1)]);
      survived = signal === null;
      expect({ stdout, stderr }).toEqual({ stdout: survived ? 'connected\n' : '', stderr: '' });
      const pruned = await network.prune((owner) => owner === 'victim');
      if (survived) expect(pruned).toEqual(['victim']);
      // A link whose namespace died with the process goes in the kernel's own time.
      const links = async () => (await link.list({ netns: host, kind: 'veth' })).length;
      for (const deadline = Date.now() + 10_000; (await links()) > 0 && Date.now() < deadline; )
        await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await links()).toBe(0);
      expect(await network.endpoints()).toEqual([]);
      expect(readdirSync(join(stateRoot, 'ipam', 'web', 'inet')).filter((file) => !file.startsWith('.'))).toEqual([]);
      expect(publishedPorts()).not.toContain('elements');
      // The port of a container with a policy, its chains and its sets.
      expect(nft('list', 'table', 'inet', 'ns')).not.toMatch(/egress_|guard_|refuse_|opened/);
      expect(nft('list', 'ruleset', 'bridge')).not.toContain('elements');
    }
    // Lease, record, port, link, addresses, port, rule, record: fewer would mean that the faults were not where they should be.
    expect(steps).toBeGreaterThan(10);
    expect(await eventually(() => publishedPorts() !== '', 1000)).toBe(true);
    await network.connect({ owner: 'successor', netns: await NetNamespace.create() });
  } finally {
    rmSync(stateRoot, { recursive: true });
  }
}, 60_000);
