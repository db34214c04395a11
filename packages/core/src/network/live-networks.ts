import { NsError } from '@ns/libc';
import type { ContainerUpdate } from '../planned-changes.ts';
import type { ContainerNetwork } from './container-network.ts';
import type { UserContainerNetwork } from './user-container-network.ts';

/** Networks of the containers of this process, by id of the container. */
export const liveNetworks = new Map<string, ContainerNetwork>();
/** The same of those that use the host's network through a program. */
export const userNetworks = new Map<string, UserContainerNetwork>();

/** A port of the host that leads into a container. */
export interface ContainerPort {
  readonly protocol: 'tcp' | 'udp';
  /** undefined: every address of the host. */
  readonly hostAddress?: string | undefined;
  readonly hostPort: number;
  /** Address of the container, where it has one of its own. */
  readonly address?: string;
  readonly port: number;
}

/**
 * The network that an update changes, if it changes any.
 *
 * @throws NsError `ERR_NS_NO_NETWORK`: the container has none of ours; `ERR_NS_NO_EGRESS_POLICY`: it has none to change
 */
export function networkToUpdate(id: string, { egress, bandwidth }: ContainerUpdate): ContainerNetwork | undefined {
  if (!egress && !bandwidth) return undefined;
  const network = liveNetworks.get(id);
  if (!network)
    throw new NsError('ERR_NS_NO_NETWORK', `container ${id.slice(0, 12)} has no network that this process made`, {
      hint: 'Make it with network, ports or egress; another process changes those of its own containers',
    });
  if (egress) network.assertEgressPolicy();
  return network;
}

/** Changes policy and bandwidth of a container of this process. */
export async function updateNetwork(
  network: ContainerNetwork | undefined,
  { egress, bandwidth }: ContainerUpdate,
): Promise<void> {
  if (egress) await network?.changeEgress(egress);
  if (bandwidth) await network?.changeBandwidth(bandwidth);
}
