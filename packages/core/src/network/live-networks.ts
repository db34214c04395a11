import { NsError } from '@ns/libc';
import type { ContainerUpdate } from '../planned-changes.ts';
import type { ContainerNetwork } from './container-network.ts';

/** Networks of the containers of this process, by id of the container. */
export const liveNetworks = new Map<string, ContainerNetwork>();

/**
 * Changes policy and bandwidth of a container of this process.
 *
 * @throws NsError `ERR_NS_NO_NETWORK`: it has none of ours
 */
export async function updateNetwork(id: string, { egress, bandwidth }: ContainerUpdate): Promise<void> {
  if (!egress && !bandwidth) return;
  const network = liveNetworks.get(id);
  if (!network)
    throw new NsError('ERR_NS_NO_NETWORK', `container ${id.slice(0, 12)} has no network that this process made`, {
      hint: 'Make it with network, ports or egress; another process changes those of its own containers',
    });
  if (egress) await network.changeEgress(egress);
  if (bandwidth) await network.changeBandwidth(bandwidth);
}
