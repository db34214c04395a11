import { readFileSync } from 'node:fs';
import {
  addressPayload,
  decodeMessages,
  encodeAttributes,
  encodeMessage,
  IFLA_INET6,
  linkPayload,
  NLM_F,
  namespaceIdPayload,
  neighbourPayload,
  type PayloadCodec,
  qdiscPayload,
  RTM,
  routePayload,
  rulePayload,
} from '@ns/netlink';

// Captured from iproute2 by scripts/capture-golden.mjs.
const golden = JSON.parse(readFileSync(new URL('./golden/iproute2.json', import.meta.url), 'utf8')) as {
  pid: number;
  names: Record<string, number>;
  vectors: Record<string, { command: string; messages: string[] }>;
};

const NEW = NLM_F.REQUEST | NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL;
const SET = NLM_F.REQUEST | NLM_F.ACK;
// Asks for the table that was used instead of the one asked for.
const RTM_F_LOOKUP_TABLE = 0x1000;
const DUMP = NLM_F.REQUEST | NLM_F.DUMP;
const NTF_SELF = 2;
const NTF_MASTER = 4;
const NTF_STICKY = 0x40;

type Codec = PayloadCodec<object, object>;
// The last message of a command, or `name#position`: iproute2 looks things up before, or after.
const at = (name: string): Buffer => {
  const [key, position = '-1'] = name.split('#');
  return Buffer.from(golden.vectors[key!]!.messages.at(Number(position))!, 'hex');
};
const indexIn = (name: string, codec: Codec): number =>
  (codec.decode(decodeMessages(at(name))[0]!.payload) as unknown as { index: number }).index;
const link = linkPayload() as Codec;
const address = addressPayload as Codec;
const neighbour = neighbourPayload as Codec;
const qdisc = qdiscPayload as Codec;
const route = routePayload as Codec;
const rule = rulePayload as Codec;

const vzIndex = indexIn('link mtu', link);
const brIndex = indexIn('link remove', link);

const AF_INET6 = 10;
const noLinkLocalAddress = encodeAttributes([
  { type: AF_INET6, payload: encodeAttributes([{ type: IFLA_INET6.ADDR_GEN_MODE, payload: Buffer.from([1]) }]) },
]);

// vector, message type, flags, codec, what we say
const cases: [string, number, number, Codec, object][] = [
  ['link up', RTM.NEWLINK, SET, link, { index: 1, flags: 1, change: 1 }],
  [
    'veth create',
    RTM.NEWLINK,
    NEW,
    link,
    { attributes: { name: 'va', info: { kind: 'veth', data: { peer: { attributes: { name: 'vb' } } } } } },
  ],
  [
    'veth create with addresses',
    RTM.NEWLINK,
    NEW,
    link,
    {
      attributes: {
        address: '02:00:00:00:00:01',
        mtu: 1400,
        name: 'vc',
        info: { kind: 'veth', data: { peer: { attributes: { address: '02:00:00:00:00:02', mtu: 1400, name: 'vd' } } } },
      },
    },
  ],
  [
    'veth create with one queue',
    RTM.NEWLINK,
    NEW,
    link,
    {
      attributes: {
        numTxQueues: 1,
        numRxQueues: 1,
        name: 've',
        info: { kind: 'veth', data: { peer: { attributes: { numTxQueues: 1, numRxQueues: 1, name: 'vf' } } } },
      },
    },
  ],
  ['bridge create', RTM.NEWLINK, NEW, link, { attributes: { name: 'br0', info: { kind: 'bridge' } } }],
  [
    'bridge create with options',
    RTM.NEWLINK,
    NEW,
    link,
    {
      attributes: {
        name: 'br1',
        info: { kind: 'bridge', data: { stpState: 1, ageingTime: 10000, multicastSnooping: false } },
      },
    },
  ],
  ['link mtu', RTM.NEWLINK, SET, link, { index: vzIndex, attributes: { mtu: 1300 } }],
  ['link mac', RTM.NEWLINK, SET, link, { index: vzIndex, attributes: { address: '02:00:00:00:00:09' } }],
  [
    'link address generation',
    RTM.NEWLINK,
    SET,
    link,
    { index: vzIndex, attributes: { addressFamilies: noLinkLocalAddress } },
  ],
  ['link rename', RTM.NEWLINK, SET, link, { index: vzIndex, attributes: { name: 'vz' } }],
  ['link no master', RTM.NEWLINK, SET, link, { index: brIndex, attributes: { master: 0 } }],
  ['link remove', RTM.DELLINK, SET, link, { index: brIndex }],
  [
    'address add',
    RTM.NEWADDR,
    NEW,
    address,
    { family: 2, prefixLength: 24, index: vzIndex, attributes: { local: '10.1.0.1', address: '10.1.0.1' } },
  ],
  [
    'address add v6',
    RTM.NEWADDR,
    NEW,
    address,
    { family: 10, prefixLength: 64, flags: 2, index: vzIndex, attributes: { local: 'fd00::1', address: 'fd00::1' } },
  ],
  [
    'address del',
    RTM.DELADDR,
    SET,
    address,
    { family: 2, prefixLength: 24, index: vzIndex, attributes: { local: '10.1.0.1', address: '10.1.0.1' } },
  ],
  [
    'route add default',
    RTM.NEWROUTE,
    NEW,
    route,
    { family: 2, table: 254, protocol: 3, kind: 1, attributes: { gateway: '10.1.0.254' } },
  ],
  ['route del', RTM.DELROUTE, SET, route, { family: 2, table: 254, scope: 255, attributes: { gateway: '10.1.0.254' } }],
  [
    'route add v6',
    RTM.NEWROUTE,
    NEW,
    route,
    {
      family: 10,
      destinationLength: 64,
      table: 254,
      protocol: 3,
      kind: 1,
      attributes: { destination: 'fd01::', gateway: 'fd00::2', priority: 5, outputIndex: vzIndex },
    },
  ],
  [
    'rule add',
    RTM.NEWRULE,
    NEW,
    rule,
    { family: 2, sourceLength: 24, action: 1, attributes: { source: '10.1.0.0', mark: 7, table: 300, priority: 1000 } },
  ],
  ['rule del', RTM.DELRULE, SET, rule, { family: 2, attributes: { priority: 1000 } }],
  [
    'neighbour add',
    RTM.NEWNEIGH,
    NEW,
    neighbour,
    {
      family: 2,
      index: vzIndex,
      state: 0x80,
      attributes: { destination: '10.1.0.9', linkAddress: '02:00:00:00:00:77' },
    },
  ],
  [
    'neighbour del',
    RTM.DELNEIGH,
    SET,
    neighbour,
    { family: 2, index: vzIndex, state: 0x80, attributes: { destination: '10.1.0.9' } },
  ],
  [
    'fdb append',
    RTM.NEWNEIGH,
    SET | NLM_F.CREATE | NLM_F.APPEND,
    neighbour,
    {
      family: 7,
      index: golden.names.vx,
      state: 0xc0,
      flags: NTF_SELF,
      attributes: { linkAddress: '00:00:00:00:00:00', destination: '10.9.0.2' },
    },
  ],
  [
    'fdb replace sticky',
    RTM.NEWNEIGH,
    SET | NLM_F.CREATE | NLM_F.REPLACE,
    neighbour,
    {
      family: 7,
      index: golden.names.vc,
      state: 0x42,
      flags: NTF_MASTER | NTF_STICKY,
      attributes: { linkAddress: '02:00:00:00:00:88' },
    },
  ],
  ['address list#2', RTM.GETADDR, DUMP, address, { index: vzIndex }],
  [
    'route add blackhole',
    RTM.NEWROUTE,
    NEW,
    route,
    { family: 2, destinationLength: 16, protocol: 3, kind: 6, attributes: { destination: '10.77.0.0', table: 300 } },
  ],
  [
    'macvlan create',
    RTM.NEWLINK,
    NEW,
    link,
    { attributes: { link: golden.names.mp, name: 'mv', info: { kind: 'macvlan', data: { mode: 4 } } } },
  ],
  [
    'vxlan create',
    RTM.NEWLINK,
    NEW,
    link,
    {
      attributes: {
        name: 'vx',
        info: { kind: 'vxlan', data: { id: 42, local: '10.9.0.1', learning: false, port: 4789 } },
      },
    },
  ],
  ['link master', RTM.NEWLINK, SET, link, { index: brIndex, attributes: { master: golden.names.br0 } }],
  ['link netns by pid', RTM.NEWLINK, SET, link, { index: golden.names.vd, attributes: { netnsPid: golden.pid } }],
  ['qdisc del', RTM.DELQDISC, SET, qdisc, { index: vzIndex, parent: 0xffffffff }],
  ['link list', RTM.GETLINK, DUMP, link, { family: 17, attributes: { extendedMask: 1 } }],
  ['neighbour list', RTM.GETNEIGH, DUMP, neighbour, {}],
  ['fdb list', RTM.GETNEIGH, DUMP, neighbour, { family: 7 }],
  ['rule list', RTM.GETRULE, DUMP, rule, { family: 2 }],
  ['qdisc list', RTM.GETQDISC, DUMP, qdisc, {}],
  ['namespace ids', RTM.GETNSID, DUMP, namespaceIdPayload as Codec, {}],
  [
    'route get#0',
    RTM.GETROUTE,
    NLM_F.REQUEST,
    route,
    { family: 2, destinationLength: 32, flags: RTM_F_LOOKUP_TABLE, attributes: { destination: '10.1.0.5' } },
  ],
  ['alternative name add#1', RTM.GETLINK, NLM_F.REQUEST, link, { attributes: { extendedMask: 9, name: 'va' } }],
  [
    'alternative name add',
    RTM.NEWLINKPROP,
    NEW | NLM_F.APPEND,
    link,
    { index: brIndex, attributes: { properties: { alternativeNames: ['a-longer-name-than-fifteen'] } } },
  ],
  [
    'alternative name del',
    RTM.DELLINKPROP,
    SET,
    link,
    { index: brIndex, attributes: { properties: { alternativeNames: ['a-longer-name-than-fifteen'] } } },
  ],
  ['dummy create', RTM.NEWLINK, NEW, link, { attributes: { name: 'du', info: { kind: 'dummy' } } }],
  [
    'vlan create',
    RTM.NEWLINK,
    NEW,
    link,
    { attributes: { link: vzIndex, name: 'vz.5', info: { kind: 'vlan', data: { id: 5 } } } },
  ],
  [
    'ipvlan create',
    RTM.NEWLINK,
    NEW,
    link,
    { attributes: { link: vzIndex, name: 'iv', info: { kind: 'ipvlan', data: { mode: 0, flags: 0 } } } },
  ],
];

test.each(cases)('what iproute2 says and what we say are the same: %s', (name, type, flags, codec, value) => {
  const bytes = at(name);
  // iproute2 pads some dump requests with zeros behind the message.
  const theirs = decodeMessages(bytes.subarray(0, bytes.readUInt32LE(0)))[0]!;
  const ours = { type, flags, sequence: 0, port: 0, payload: codec.encode(value) };
  expect({ type: theirs.type, flags: theirs.flags }).toEqual({ type, flags });
  expect(codec.decode(ours.payload)).toEqual(codec.decode(theirs.payload));
  // Byte for byte, but for the NLA_F_NESTED bit, which iproute2 leaves out on some nested attributes.
  const normalized = { ...theirs, payload: codec.encode(codec.decode(theirs.payload)) };
  expect(encodeMessage(ours).toString('hex')).toBe(encodeMessage(normalized).toString('hex'));
});

test('options of a bridge port and a token bucket are the bytes that iproute2 sends', () => {
  const port = link.encode({
    index: golden.names.vc,
    attributes: { info: { portKind: 'bridge', portData: { hairpin: true, isolated: true } } },
  } as object);
  // IFLA_INFO_SLAVE_DATA with BRPORT_MODE and BRPORT_ISOLATED.
  const options = '1400058005000400010000000500210001000000';
  for (const bytes of [port, at('port options')]) expect(bytes.toString('hex')).toContain(options.slice(8));
  const { type, flags, payload } = decodeMessages(at('qdisc tbf'))[0]!;
  expect({ type, flags }).toEqual({ type: RTM.NEWQDISC, flags: NEW });
  expect(qdisc.decode(payload)).toMatchObject({ index: vzIndex, parent: 0xffffffff, attributes: { kind: 'tbf' } });
});

test('every captured message survives decoding and encoding', () => {
  const codecs: Record<number, Codec> = {
    16: link,
    20: address,
    24: route,
    28: neighbour,
    32: rule,
    36: qdisc,
    108: link,
  };
  let seen = 0;
  for (const { messages } of Object.values(golden.vectors)) {
    for (const hex of messages) {
      const bytes = Buffer.from(hex, 'hex');
      // iproute2 pads some dump requests with zeros behind the message.
      const [message] = decodeMessages(bytes.subarray(0, bytes.readUInt32LE(0)));
      const codec = codecs[message!.type & ~3]!;
      // A header shorter than its struct (`rtgenmsg`) is no full message.
      if (message!.payload.length < 8) continue;
      expect(encodeMessage(message!)).toEqual(bytes.subarray(0, bytes.readUInt32LE(0)));
      const decoded = codec.decode(message!.payload);
      expect(codec.decode(codec.encode(decoded))).toEqual(decoded);
      seen++;
    }
  }
  expect(seen).toBeGreaterThan(60);
});
