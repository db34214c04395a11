import { errnoName } from '@ns/libc';
import type { Acknowledgement } from './acknowledgement.ts';
import { messageTypeName, payloadCodecOf } from './message-types.ts';

/** What to do about an errno of a message type; `*` is any type. The first match counts. */
const hints: readonly (readonly [type: string, errno: string, hint: string])[] = [
  ['*', 'EPERM', 'Changing the network needs CAP_NET_ADMIN in the user namespace that owns the network namespace'],
  ['RTM_NEWLINK', 'EEXIST', 'A link of that name is there already: choose another name or remove it first'],
  [
    'RTM_NEWLINK',
    'EOPNOTSUPP',
    'This kernel lacks the kind of link or the option (CONFIG_* of the driver, or a module that is not loaded)',
  ],
  ['RTM_NEWLINK', 'ENODEV', 'The link, its parent or its master does not exist in this network namespace'],
  ['RTM_NEWLINK', 'EBUSY', 'The link must be down for this, or belongs to another master'],
  ['RTM_NEWLINK', 'EADDRINUSE', 'Another link of the same parent has this MAC address: choose another'],
  ['RTM_NEWADDR', 'EADDRINUSE', 'Another link of the same parent has this address: choose another'],
  ['RTM_NEWADDR', 'EEXIST', 'The link has this address already'],
  ['RTM_NEWADDR', 'EACCES', 'IPv6 is switched off on this link: sysctl net.ipv6.conf.<link>.disable_ipv6'],
  ['RTM_DELADDR', 'EADDRNOTAVAIL', 'The link does not have this address with this prefix length'],
  [
    'RTM_NEWROUTE',
    'ENETUNREACH',
    'The gateway must be reachable directly: add an address of its subnet first, or use onlink',
  ],
  [
    'RTM_NEWROUTE',
    'EHOSTUNREACH',
    'The gateway must be reachable directly: add an address of its subnet first, or use onlink',
  ],
  ['RTM_NEWROUTE', 'ENETDOWN', 'The link must be up before a route can use it'],
  ['RTM_NEWROUTE', 'EEXIST', 'There is a route to this destination with the same metric already'],
  ['RTM_DELROUTE', 'ESRCH', 'There is no such route in this table'],
  ['RTM_NEWQDISC', 'ENOENT', 'This kernel lacks the queueing discipline (CONFIG_NET_SCH_*)'],
];

/** What is known about a refused request besides the errno: the attribute, and the next action. */
export function explainRefusal(
  request: { readonly type: number; readonly payload: Buffer },
  acknowledgement: Acknowledgement,
): { attribute?: string; hint?: string } {
  const type = messageTypeName(request.type);
  const errno = errnoName(acknowledgement.errno);
  const hint = hints.find(([name, code]) => (name === '*' || name === type) && code === errno)?.[2];
  const attribute = refusedAttribute(request, acknowledgement);
  return { ...(attribute === undefined ? {} : { attribute }), ...(hint === undefined ? {} : { hint }) };
}

function refusedAttribute(
  request: { readonly type: number; readonly payload: Buffer },
  acknowledgement: Acknowledgement,
): string | undefined {
  const codec = payloadCodecOf(request.type);
  if (!codec) return undefined;
  if (acknowledgement.missingType !== undefined) return codec.attributeName(acknowledgement.missingType);
  if (acknowledgement.offset === undefined) return undefined;
  // Offsets count from the start of the message header.
  return codec.attributeAt(request.payload, acknowledgement.offset - 16);
}
