import { SpecError } from '@ns/libc';
import { type Endpoint, type NetNamespace, shaping } from '@ns/netns';
import { type Bandwidth, parseBitRate } from './network-spec.ts';

/** Limits both directions of a container's link: each end of a veth limits what it sends. */
export async function limitBandwidth(
  { link, hostLink }: Endpoint,
  netns: NetNamespace,
  { ingress, egress }: Bandwidth,
): Promise<void> {
  if (egress !== undefined)
    await shaping.limitRate(link, { netns, bitsPerSec: parseBitRate(egress, 'bandwidth.egress') });
  if (ingress === undefined) return;
  if (hostLink === '')
    throw new SpecError('bandwidth.ingress', 'a bridge network: a macvlan or ipvlan has no end on the host', ingress);
  await shaping.limitRate(hostLink, { bitsPerSec: parseBitRate(ingress, 'bandwidth.ingress') });
}
