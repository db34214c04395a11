import { add as addAddress } from '../address.ts';
import { forgetConnections } from '../egress/cut-connections.ts';
import type { Firewall } from '../firewall/firewall.ts';
import { findForwardingObstacles } from '../firewall/obstacles.ts';
import type { AddressPool } from '../ipam/address-pool.ts';
import { setUp } from '../link/change.ts';
import { createBridge } from '../link/create.ts';
import type { NetnsReference } from '../namespace-reference.ts';
import { firewallNetwork } from './network-plan.ts';
import type { NetworkRecord } from './network-state.ts';
import { macFor } from './plug-container.ts';
import { believeNoRouter, switchIpv6Off } from './quiet-link.ts';

/** Makes a network's bridge with its addresses, and lets it through the firewall. */
export async function buildBridge(
  record: NetworkRecord,
  pools: readonly AddressPool[],
  firewall: Firewall,
): Promise<void> {
  const { bridge, mtu, internal } = record;
  const { netns } = firewall;
  const gateways = pools.flatMap(({ gateway, subnet }) => (gateway === undefined ? [] : [{ gateway, subnet }]));
  // A bridge without an address of its own takes the lowest of its ports, and changes it under the feet of the containers
  // that remember it when that port goes.
  await createBridge({ name: bridge, mtu, netns, mac: macFor(gateways[0]?.gateway ?? '::', bridge) });
  // Where containers have no IPv6, the host's services are not to be reached by it either.
  const quieten = pools.some(({ subnet }) => subnet.family === 'inet6') ? believeNoRouter : switchIpv6Off;
  quieten(bridge, netns);
  for (const { gateway, subnet } of gateways)
    await addAddress(bridge, `${gateway}/${subnet.prefixLength}`, { netns, nodad: subnet.family === 'inet6' });
  await setUp(bridge, { netns });
  await firewall.addNetwork(firewallNetwork(record));
  // From now on none begins but by these rules; an earlier network of these subnets may have left some.
  await forgetConnections({ netns, of: pools.map(({ subnet }) => subnet) });
  if (!internal) warnOfObstacles(record, netns);
}

/** Rules of others are never changed; that they keep our packets back is said, with what would let them through. */
function warnOfObstacles({ name, bridge }: NetworkRecord, netns: NetnsReference | undefined): void {
  for (const { why, fix } of findForwardingObstacles(bridge, { netns }))
    process.emitWarning(`network '${name}' does not get through: ${why}`, {
      code: 'NS_NETWORK_BLOCKED',
      detail: `To let it through: ${fix.join('; ')}`,
    });
}
