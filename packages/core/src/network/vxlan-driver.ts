import { createHash } from 'node:crypto';
import { rollBack, SpecError } from '@ns/libc';
import { type GuardedTunnel, guardTunnel, link, neighbour, unguardTunnel } from '@ns/netns';
import { withoutUndefined } from '../without-undefined.ts';
import { driver as bridge } from './bridge-driver.ts';
import type { NetworkBackend, NetworkDriver } from './network-driver.ts';
import type { NetworkOptions } from './network-options.ts';

// What a tunnel over IPv4 adds to each frame, of the usual 1500 bytes.
const defaultMtu = 1450;
const anyMac = '00:00:00:00:00:00';

/**
 * A bridge on each host, and a VXLAN tunnel between them with a static list of peers, which takes frames from them only.
 * Hosts hand out addresses by themselves, so each needs an `ipRange` of its own, and an `auxAddresses` for the gateways of
 * the others.
 */
export const driver: NetworkDriver = {
  async create(options) {
    checkOptions(options);
    const network = await bridge.create({ mtu: defaultMtu, ...options });
    try {
      await createTunnel(network, options);
    } catch (error) {
      throw await rollBack(error, () => network.remove());
    }
    return network;
  },
  async open(options) {
    const network = await bridge.open(options);
    // After a reboot the bridge was made anew.
    if (!(await link.get(tunnelName(options)))) await createTunnel(network, options);
    // The rules may have been made anew, too.
    else guardTunnel(guarded(options));
    return network;
  },
  endpoint: bridge.endpoint,
  async removed(options) {
    // Without its link another network may have its number.
    if (await link.get(tunnelName(options))) await removeTunnel(options);
  },
};

function checkOptions({ vni, local, peers, subnet }: NetworkOptions): void {
  for (const [field, value] of Object.entries({ vni, local, peers, subnet }))
    if (value === undefined) throw new SpecError(field, 'a value: an overlay network cannot do without', value);
}

/** A link's name has 15 characters at most. */
function tunnelName({ name }: NetworkOptions): string {
  return `nsx${createHash('sha256').update(name).digest('hex').slice(0, 12)}`;
}

function guarded({ vni, port, peers = [] }: NetworkOptions): GuardedTunnel {
  return { id: vni!, peers, ...withoutUndefined({ port }) };
}

async function removeTunnel(options: NetworkOptions): Promise<void> {
  // In this order: what a crash leaves is found by the link, and nothing gets through that without its bridge.
  unguardTunnel(guarded(options));
  await link.remove(tunnelName(options), { ifMissing: 'ignore' });
}

/** When a step fails, those before it are undone. */
async function createTunnel(network: NetworkBackend, options: NetworkOptions): Promise<void> {
  const { vni, local, peers = [], port, parent } = options;
  const { bridge: master, mtu } = network.record;
  const name = tunnelName(options);
  await link.createVxlan({
    name,
    id: vni!,
    local: local!,
    master,
    mtu,
    ...(port === undefined ? {} : { port }),
    ...(parent === undefined ? {} : { parent }),
  });
  try {
    // Frames for everybody and for those not yet known go to every peer.
    for (const peer of peers) await neighbour.appendFdb({ link: name, mac: anyMac, destination: peer });
    guardTunnel(guarded(options));
    await link.setUp(name);
  } catch (error) {
    throw await rollBack(error, () => removeTunnel(options));
  }
}
