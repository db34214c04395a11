import { isIP, isIPv4, isIPv6 } from 'node:net';
import { SpecError } from '@ns/libc';
import * as v from 'valibot';
import { dictionary, isPlainObject, object } from '../field-schemas.ts';
import { type SchemaNode, type SpecIssue, toSpecError } from '../spec-issue.ts';
import { hostEntries, hostGatewayWord } from './network-files.ts';
import type { NetworkOptions } from './network-options.ts';
import { type BitRate, parseBitRate } from './network-spec.ts';

/* Schemas of what is about networks. Syntax of subnets, ports and egress rules is checked where they are read. */

const name = v.pipe(
  v.string('the name of a network'),
  v.regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/, 'a network name of letters, digits, _ . -, at most 63'),
);
/** A Network object becomes its name: specifications are data, and are stored. */
const reference = v.union(
  [
    name,
    v.pipe(
      v.custom<{ readonly name: string }>(isNetworkObject, 'a Network'),
      v.transform((network) => network.name),
    ),
  ],
  'a network or its name',
);
/** Of a host in /etc/hosts. */
const hostAddress = v.custom<string>(
  (value) => value === hostGatewayWord || v.is(ip, value),
  "an address, or 'host-gateway'",
);
const ip = v.custom<string>((value) => typeof value === 'string' && isIP(value) > 0, 'an address');
const ip4 = v.custom<string>((value) => typeof value === 'string' && isIPv4(value), 'an IPv4 address');
const ip6 = v.custom<string>((value) => typeof value === 'string' && isIPv6(value), 'an IPv6 address');
const mac = v.pipe(
  v.string('a MAC address'),
  v.regex(/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i, 'a unicast MAC address such as 02:42:0a:00:00:02'),
);
const hostName = v.pipe(
  v.string('a host name'),
  v.regex(/^(?=.{1,253}$)[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i, 'a host name'),
);
const hostEntry = v.custom<string>((entry) => {
  const [name, address] = typeof entry === 'string' ? hostEntries([entry])[0]! : [];
  return v.is(hostName, name) && v.is(hostAddress, address);
}, "an entry such as 'db:10.0.0.5'");
const connectEntries = {
  ip: v.optional(ip4),
  ip6: v.optional(ip6),
  mac: v.optional(mac),
  aliases: v.optional(v.array(hostName, 'an array of names')),
};
const attachment = object({ network: reference, ...connectEntries });
const egress = object({
  default: v.optional(v.picklist(['deny', 'allow'], "'deny' or 'allow'")),
  allow: v.optional(v.array(v.string("a rule such as 'api.example.com:443'"), 'an array of rules')),
});
const rate = v.custom<BitRate>((value) => parseBitRate(value as BitRate, 'bandwidth') > 0, 'bits per second');

/** Fields of a container's specification. */
export const networkFields = (namespaceOfOther: readonly [v.GenericSchema, v.GenericSchema]) => ({
  network: v.optional(
    v.union(
      [
        reference,
        attachment,
        v.array(v.union([reference, attachment], 'a network or { network, … }')),
        ...namespaceOfOther,
      ],
      "'none', 'host', 'user', a Network or its name, { network, ip, … }, an array of those, { container } or { path }",
    ),
  ),
  ports: v.optional(v.array(v.string("a port such as '8080:80/tcp'"), 'an array of ports')),
  // One line each of /etc/hosts: a line break would be another entry.
  extraHosts: v.optional(
    v.union(
      [dictionary(hostName, hostAddress, 'an object of addresses'), v.array(hostEntry, 'an array of entries')],
      "an object of addresses, or an array of entries such as 'db:10.0.0.5'",
    ),
  ),
  dns: v.optional(v.array(ip, 'an array of addresses')),
  egress: v.optional(egress),
  bandwidth: v.optional(object({ ingress: v.optional(rate), egress: v.optional(rate) })),
});

const connectSchema = v.strictObject(connectEntries);

const text = (expected: string) => v.optional(v.string(expected));
const boolean = v.optional(v.boolean('true or false'));

const networkSchema = v.strictObject({
  name,
  driver: v.optional(v.picklist(['bridge', 'macvlan', 'ipvlan', 'vxlan'], "'bridge', 'macvlan', 'ipvlan' or 'vxlan'")),
  subnet: text("a subnet such as '10.9.0.0/24'"),
  gateway: text('an address'),
  ipRange: text('a part of the subnet'),
  auxAddresses: v.optional(dictionary(v.string(), ip, 'an object of addresses')),
  internal: boolean,
  icc: boolean,
  masquerade: boolean,
  mtu: v.optional(
    v.pipe(
      v.number('bytes'),
      v.integer('bytes'),
      v.minValue(68, 'bytes, from 68'),
      v.maxValue(65_535, 'bytes, to 65535'),
    ),
  ),
  ipv6: v.optional(
    v.union(
      [v.boolean('true or false'), object({ subnet: v.string('an IPv6 subnet'), gateway: text('an address') })],
      'true, false or { subnet, gateway }',
    ),
  ),
  egress: v.optional(egress),
  dns: v.optional(v.array(ip, 'an array of addresses')),
  labels: v.optional(dictionary(v.string(), v.string('a string'), 'an object of strings')),
  parent: text('the name of a link'),
  mode: text('a mode'),
  vni: v.optional(
    v.pipe(
      v.number('a number'),
      v.integer('a whole number'),
      v.minValue(1, 'from 1'),
      v.maxValue(2 ** 24 - 1, 'below 2^24'),
    ),
  ),
  local: v.optional(ip),
  peers: v.optional(v.array(ip, 'an array of addresses')),
  port: v.optional(
    v.pipe(v.number('a port'), v.integer('a port'), v.minValue(1, 'a port'), v.maxValue(65_535, 'a port')),
  ),
});

/** Options that not every driver has. */
const driversWith = {
  parent: ['macvlan', 'ipvlan', 'vxlan'],
  mode: ['macvlan', 'ipvlan'],
  vni: ['vxlan'],
  local: ['vxlan'],
  peers: ['vxlan'],
  port: ['vxlan'],
} as const satisfies Partial<Record<keyof NetworkOptions, readonly NetworkOptions['driver'][]>>;

/** Checks options of `Network.create`. @throws SpecError */
export function checkNetworkOptions(options: NetworkOptions): NetworkOptions {
  const known = checked(networkSchema, options) as NetworkOptions;
  const { driver = 'bridge' } = known;
  for (const [field, drivers] of Object.entries(driversWith)) {
    const value = known[field as keyof typeof driversWith];
    if (value === undefined || drivers.some((one) => one === driver)) continue;
    throw new SpecError(field, `nothing with driver '${driver}'`, value, `It is for ${drivers.join(', ')}`);
  }
  return known;
}

/** Checks options of `network.connect`. @throws SpecError */
export function checkConnectOptions<Options extends object>(options: Options): Options {
  return checked(connectSchema, options) as Options;
}

function checked(schema: typeof networkSchema | typeof connectSchema, input: object): unknown {
  if (!isPlainObject(input)) throw new SpecError('options', 'an object', input);
  const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
  const result = v.safeParse(schema, given, { abortEarly: true });
  if (result.success) return result.output;
  throw toSpecError(result.issues[0] as SpecIssue, schema as SchemaNode);
}

function isNetworkObject(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.getPrototypeOf(value) !== Object.prototype &&
    v.is(name, (value as { name?: unknown }).name)
  );
}
