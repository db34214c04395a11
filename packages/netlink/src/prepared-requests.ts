import { NLM_F } from './constants/netlink.ts';
import { encodeMessages } from './message.ts';
import type { NetlinkRequest } from './socket.ts';

/**
 * The bytes of requests, for somebody else to send in one datagram: of them, the kernel answers those that it refuses.
 *
 * @example
 * const removal = encodeRequests([{ type: RTM.DELLINK, payload: linkPayload().encode({ attributes: { name: 'br0' } }) }]);
 */
export function encodeRequests(requests: readonly NetlinkRequest[]): Buffer {
  return encodeMessages(
    requests.map(({ type, flags = 0, payload }, sequence) => ({
      type,
      flags: flags | NLM_F.REQUEST,
      sequence,
      port: 0,
      payload,
    })),
  );
}
