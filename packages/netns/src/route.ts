import { AF, SpecError } from '@ns/libc';
import {
  type NetlinkMessage,
  type NetlinkRequest,
  type NetlinkSocket,
  NLM_F,
  type RouteAttributes,
  RT_SCOPE,
  RTM,
  RTN,
  RTNH_F,
  RTPROT,
  routePayload,
} from '@ns/netlink';
import { parseCidr } from './cidr.ts';
import { optional } from './link/create.ts';
import { indexOf, type LinkReference, readLink } from './link/link.ts';
import { protocols, routeKinds, scopes, tables } from './names.ts';
import { type InNetns, withSocket } from './namespace-reference.ts';

/** Kinds of routes that can be added. */
export type RouteKind =
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'anycast'
  | 'multicast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'throw';

/** A route to add or remove. */
export interface RouteSpec extends InNetns {
  /** `10.0.0.0/8`, `fd00::/8`, or `default` (of IPv6 when `via` is an IPv6 address, or with `family`). */
  readonly to: string;
  /** Gateway. */
  readonly via?: string;
  /** Link to leave by; may be left out with `via`. */
  readonly link?: LinkReference;
  /** Several next hops instead of `via` and `link`. */
  readonly nextHops?: readonly { readonly via?: string; readonly link?: LinkReference; readonly weight?: number }[];
  /** Default 0; for IPv6 the kernel makes 1024 of it. Lower wins. */
  readonly metric?: number;
  /** Source address of packets that choose none. */
  readonly source?: string;
  /** Number, or `main` (default), `local`, `default`. */
  readonly table?: number | string;
  readonly kind?: RouteKind;
  readonly scope?: string | number;
  /** Default `boot`, as `ip` writes. */
  readonly protocol?: string | number;
  /** Path MTU in bytes. */
  readonly mtu?: number;
  /** The gateway need not be in a subnet of the link. */
  readonly onlink?: boolean;
  /** Only for `to: 'default'` without `via`. */
  readonly family?: 'inet' | 'inet6';
}

/** A route, with what `ip route` knows. */
export interface Route {
  readonly family: 'inet' | 'inet6';
  /** `dst`: `default`, a subnet, or an address without prefix length when it is one address. */
  readonly to: string;
  /** `gateway` */
  readonly via: string | undefined;
  /** `dev` */
  readonly link: string | undefined;
  readonly index: number | undefined;
  readonly metric: number | undefined;
  /** `prefsrc` */
  readonly source: string | undefined;
  /** `main`, `local`, `default`, or a number as text. */
  readonly table: string;
  /** `type` */
  readonly kind: string;
  readonly scope: string;
  readonly protocol: string;
  readonly mtu: number | undefined;
  readonly flags: readonly (keyof typeof RTNH_F)[];
  readonly nextHops: readonly {
    readonly via: string | undefined;
    readonly link: string | undefined;
    readonly weight: number;
  }[];
}

const flagNames = Object.keys(RTNH_F) as (keyof typeof RTNH_F)[];
const discarding: ReadonlySet<number> = new Set([RTN.BLACKHOLE, RTN.UNREACHABLE, RTN.PROHIBIT, RTN.THROW]);
const hostScoped: ReadonlySet<number> = new Set([RTN.LOCAL]);

/** Adds a route: RTM_NEWROUTE. Needs CAP_NET_ADMIN. EEXIST when there is one with the same metric. */
export async function add(route: RouteSpec): Promise<void> {
  withSocket(route.netns, (socket) =>
    socket.request(routeRequest(socket, RTM.NEWROUTE, NLM_F.CREATE | NLM_F.EXCL, route)),
  );
}

/** Adds a route, or replaces the one to the same destination with the same metric. */
export async function replace(route: RouteSpec): Promise<void> {
  withSocket(route.netns, (socket) =>
    socket.request(routeRequest(socket, RTM.NEWROUTE, NLM_F.CREATE | NLM_F.REPLACE, route)),
  );
}

/** Removes a route: RTM_DELROUTE. Fields that are left out match any value. ESRCH when there is none. */
export async function remove(route: RouteSpec): Promise<void> {
  withSocket(route.netns, (socket) => socket.request(routeRequest(socket, RTM.DELROUTE, 0, route)));
}

/** The request of a route, with links looked up. */
export function routeRequest(socket: NetlinkSocket, type: number, flags: number, route: RouteSpec): NetlinkRequest {
  const removing = type === RTM.DELROUTE;
  const { family, destination, prefixLength } = destinationOf(route);
  const kind = named(
    routeKinds.numberOf(route.kind ?? 'unicast'),
    'kind',
    'a kind of route such as unicast or blackhole',
    route.kind,
  );
  const table = named(tables.numberOf(route.table ?? 'main'), 'table', 'main, local, default or a number', route.table);
  const attributes: RouteAttributes = {
    ...optional({
      destination: prefixLength === 0 ? undefined : destination,
      gateway: route.via,
      outputIndex: route.link === undefined ? undefined : indexOf(socket, route.link),
      preferredSource: route.source,
      priority: route.metric,
      table: table > 255 ? table : undefined,
      metrics: route.mtu === undefined ? undefined : { mtu: route.mtu },
      nextHops: route.nextHops?.map((hop) => ({
        flags: 0,
        hops: (hop.weight ?? 1) - 1,
        index: hop.link === undefined ? 0 : indexOf(socket, hop.link),
        attributes: optional({ gateway: hop.via }),
      })),
    }),
  };
  return {
    type,
    flags,
    payload: routePayload.encode({
      family,
      destinationLength: prefixLength,
      // RT_TABLE_UNSPEC in the header sends the kernel to the attribute.
      table: table > 255 ? 0 : table,
      protocol:
        removing && route.protocol === undefined
          ? 0
          : named(protocols.numberOf(route.protocol ?? 'boot'), 'protocol', 'a routing protocol', route.protocol),
      scope: scopeOf(route, kind, family, removing),
      kind: removing && route.kind === undefined ? 0 : kind,
      flags: route.onlink ? RTNH_F.ONLINK : 0,
      attributes,
    }),
    doing: `${removing ? 'remove' : 'add'} route to ${route.to}${route.via === undefined ? '' : ` via ${route.via}`}`,
  };
}

function named(number: number | undefined, field: string, expected: string, received: unknown): number {
  if (number === undefined) throw new SpecError(field, expected, received);
  return number;
}

function destinationOf(route: RouteSpec): { family: number; destination: string; prefixLength: number } {
  if (route.to !== 'default') {
    const { family, address, prefixLength } = parseCidr(route.to, 'to');
    return { family, destination: address, prefixLength };
  }
  const via = route.via ?? route.nextHops?.[0]?.via;
  const family = route.family === 'inet6' || via?.includes(':') ? AF.INET6 : AF.INET;
  return { family, destination: '', prefixLength: 0 };
}

function scopeOf(route: RouteSpec, kind: number, family: number, removing: boolean): number {
  if (route.scope !== undefined)
    return named(scopes.numberOf(route.scope), 'scope', 'global, link, host or a number', route.scope);
  if (removing) return RT_SCOPE.NOWHERE;
  // IPv6 knows no scopes of routes. The rest are ip's own rules.
  if (family === AF.INET6 || discarding.has(kind)) return RT_SCOPE.UNIVERSE;
  if (hostScoped.has(kind)) return RT_SCOPE.HOST;
  return route.via === undefined && route.nextHops === undefined ? RT_SCOPE.LINK : RT_SCOPE.UNIVERSE;
}

/**
 * Routes of a table: RTM_GETROUTE. Needs no privilege.
 *
 * @param options - `table` defaults to `main`; `all` shows every table
 */
export async function list(
  options: InNetns & { readonly table?: number | string; readonly family?: 'inet' | 'inet6' } = {},
): Promise<Route[]> {
  const { table = 'main', family } = options;
  const wanted =
    table === 'all'
      ? undefined
      : named(tables.numberOf(table), 'table', 'main, local, default, all or a number', table);
  return withSocket(options.netns, (socket) => {
    const nameOf = linkNames(socket);
    return (
      socket
        .dump({
          type: RTM.GETROUTE,
          payload: routePayload.encode({ family: family === undefined ? 0 : family === 'inet' ? AF.INET : AF.INET6 }),
          doing: 'list routes',
        })
        .map((message) => decode(message, nameOf))
        // RTM_F_CLONED entries (cached paths, not routes) come along in dumps of IPv6 tables on old kernels.
        .filter((route) => wanted === undefined || tables.numberOf(route.table) === wanted)
    );
  });
}

/**
 * The route a packet to `destination` takes: `ip route get`.
 *
 * @throws NetlinkError ENETUNREACH when there is none
 */
export async function lookUp(destination: string, options: InNetns = {}): Promise<Route> {
  const { family, address, prefixLength } = parseCidr(destination, 'destination');
  return withSocket(options.netns, (socket) => {
    const payload = routePayload.encode({
      family,
      destinationLength: prefixLength,
      attributes: { destination: address },
    });
    const [answer] = socket.request({ type: RTM.GETROUTE, payload, doing: `look up the route to ${destination}` });
    return decode(answer!, linkNames(socket));
  });
}

function linkNames(socket: NetlinkSocket): (index: number | undefined) => string | undefined {
  const names = new Map<number, string | undefined>();
  return (index) => {
    if (index === undefined || index === 0) return undefined;
    if (!names.has(index)) names.set(index, readLink(socket, index)?.name);
    return names.get(index);
  };
}

function decode(message: NetlinkMessage, nameOf: (index: number | undefined) => string | undefined): Route {
  const { attributes, ...header } = routePayload.decode(message.payload);
  const bits = header.family === AF.INET ? 32 : 128;
  const { destination } = attributes;
  return {
    family: header.family === AF.INET ? 'inet' : 'inet6',
    to:
      destination === undefined
        ? 'default'
        : header.destinationLength === bits
          ? destination
          : `${destination}/${header.destinationLength}`,
    via: attributes.gateway ?? attributes.via,
    link: nameOf(attributes.outputIndex),
    index: attributes.outputIndex,
    metric: attributes.priority,
    source: attributes.preferredSource,
    table: tables.nameOf(attributes.table ?? header.table),
    kind: routeKinds.nameOf(header.kind),
    scope: scopes.nameOf(header.scope),
    protocol: header.protocol === RTPROT.UNSPEC ? 'unspec' : protocols.nameOf(header.protocol),
    mtu: attributes.metrics?.mtu,
    flags: flagNames.filter((flag) => (header.flags & RTNH_F[flag]) !== 0),
    nextHops: (attributes.nextHops ?? []).map((hop) => ({
      via: hop.attributes.gateway ?? hop.attributes.via,
      link: nameOf(hop.index),
      weight: hop.hops + 1,
    })),
  };
}
