import { hasCode } from '@ns/libc';
import type { NetlinkRequest, NetlinkSocket } from '@ns/netlink';
import type { InNetns } from '../namespace-reference.ts';
import { getSync, setSync } from '../sysctl.ts';
import { doOthersRoute } from './chains-of-others.ts';
import { type Element, keyElement, listElements, newRequest, putElements, removalRequest } from './set-elements.ts';
import { isMissing } from './transactions.ts';

/*
 * A host routes for everybody or for nobody. Where it did for nobody, the set `strangers` says so for as long as it does for our
 * networks, and what is not of them stays where it was.
 */

/** A version of IP. */
export type Family = 'inet' | 'inet6';

const switches = {
  // NFPROTO_IPV4
  inet: { sysctl: 'net/ipv4/ip_forward', protocol: 2 },
  // NFPROTO_IPV6
  inet6: { sysctl: 'net/ipv6/conf/all/forwarding', protocol: 10 },
} as const;
const allFamilies = Object.keys(switches) as Family[];

/** Has the host route, for a network that is in the table already: who takes the last one out looks for the next after it. */
export function routeForOurs(socket: NetlinkSocket, families: readonly Family[], options: InNetns): void {
  for (const family of families) {
    if (isOff(family, options)) turnOn(socket, family, options);
  }
}

/** Versions of IP that the host routes for our networks only. */
export function routedForOurs(socket: NetlinkSocket): Family[] {
  const keys = listElements(socket, 'strangers').map(({ key }) => key?.value?.[0]);
  return allFamilies.filter((family) => keys.includes(switches[family].protocol));
}

/** Requests, before the table is removed, that are refused when this is not what it was. */
export function assertRouted(families: readonly Family[]): NetlinkRequest[] {
  return allFamilies.map((family) => (families.includes(family) ? removalRequest : newRequest)(stranger(family)));
}

/**
 * Has it route no more, when the table is gone with the last network, unless somebody else has begun to count on it. In the moment
 * between, another process may have made a network and found that it does route.
 */
export function routeNoMore(socket: NetlinkSocket, families: readonly Family[], options: InNetns): void {
  if (families.length === 0 || doOthersRoute(socket, options)) return;
  const isInUse = () => listElements(socket, 'bridges').length > 0;
  const isOurs = () => isInUse() && families.every((family) => routedForOurs(socket).includes(family));
  for (let times = 1; times < ATTEMPTS; times++) {
    if (!isInUse()) {
      for (const family of families) turnOff(family, options);
      if (!isInUse()) return;
    }
    try {
      for (const family of families) turnOn(socket, family, options);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    if (isOurs()) return;
  }
}

const ATTEMPTS = 20;
const REDIRECTS = 'net/ipv4/conf/all/accept_redirects';

function isOff(family: Family, options: InNetns): boolean {
  return getSync(switches[family].sysctl, options) === '0';
}

/** In this order: between strangers nothing is routed. */
function turnOn(socket: NetlinkSocket, family: Family, options: InNetns): void {
  putElements(socket, [stranger(family)]);
  setSync(switches[family].sysctl, 1, options);
}

function turnOff(family: Family, options: InNetns): void {
  if (isOff(family, options)) return;
  try {
    const redirects = family === 'inet' ? getSync(REDIRECTS, options) : undefined;
    setSync(switches[family].sysctl, 0, options);
    // The kernel switches this on with it, whatever it was before the first network.
    if (redirects !== undefined) setSync(REDIRECTS, redirects, options);
  } catch (error) {
    // Who removes the last network need not be one to whom /proc/sys is writable.
    if (!hasCode(error, 'EROFS', 'EACCES')) throw error;
  }
}

function stranger(family: Family): Element {
  const key = keyElement(Buffer.from([switches[family].protocol]));
  return { set: 'strangers', elements: [key], doing: `keep strangers apart (${family})` };
}
