import { linkPayload, RTM, RTNLGRP } from '@ns/netlink';
import { type Link, toLink } from './link/link.ts';
import { type InNetns, openSocket } from './namespace-reference.ts';

/** A change of a link. */
export interface LinkEvent {
  readonly kind: 'changed' | 'removed';
  readonly link: Link;
}

/**
 * Links as they appear, change and go: `ip monitor link`. Needs no privilege in one's own namespace.
 *
 * @throws OverrunError when events were lost because they were not taken fast enough
 *
 * @example
 * for await (const { kind, link } of linkEvents({ netns, signal })) if (link.name === 'eth0' && kind === 'removed') break;
 */
export async function* linkEvents(
  options: InNetns & { readonly signal?: AbortSignal } = {},
): AsyncGenerator<LinkEvent, void, undefined> {
  const { signal } = options;
  using socket = openSocket(options.netns, { groups: [RTNLGRP.LINK] });
  for await (const message of socket.events(signal === undefined ? {} : { signal })) {
    if (message.type !== RTM.NEWLINK && message.type !== RTM.DELLINK) continue;
    const decoded = linkPayload().decode(message.payload);
    // Ports of bridges report themselves a second time in the bridge's own family.
    if (decoded.family !== 0) continue;
    yield { kind: message.type === RTM.DELLINK ? 'removed' : 'changed', link: toLink(decoded) };
  }
}
