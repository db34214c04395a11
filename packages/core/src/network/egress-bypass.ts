import { NsError } from '@ns/libc';
import type { OpenedNetwork } from './opened-networks.ts';

/**
 * A policy that another way out leads around is none.
 *
 * @throws NsError `ERR_NS_EGRESS_BYPASS`
 */
export function refuseBypass({ name, options: { driver = 'bridge' } }: Pick<OpenedNetwork, 'name' | 'options'>): void {
  if (driver === 'bridge' || driver === 'vxlan') return;
  throw new NsError('ERR_NS_EGRESS_BYPASS', `network '${name}' would lead around the egress policy`, {
    hint: `Nothing of this host stands between a container and a network with driver '${driver}'; 'bridge' has policies`,
  });
}
