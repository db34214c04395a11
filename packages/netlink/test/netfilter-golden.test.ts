import { readFileSync } from 'node:fs';
import {
  chainPayload,
  connectionPayload,
  conntrackType,
  decodeAttributes,
  decodeMessages,
  encodeAttributes,
  encodeMessage,
  generationPayload,
  type NetlinkMessage,
  NLM_F,
  nftablesBatch,
  nftablesType,
  type RawAttribute,
  rulesPayload,
  setElementsPayload,
  setPayload,
  tablePayload,
} from '@ns/netlink';

// Captured from nft, conntrack and the kernel's answers to them by scripts/capture-netfilter.mjs.
const golden = JSON.parse(readFileSync(new URL('./golden/netfilter.json', import.meta.url), 'utf8')) as {
  vectors: Record<string, { messages: string[] }>;
};
const INET = 1;
// struct nfgenmsg
const HEADER_SIZE = 4;
const NFTA_TABLE_FLAGS = 2;
const NFTA_SET_ELEM_LIST_SET_ID = 4;
// nft numbers its sets within a transaction; ours are in the kernel already. Flags that are none need not be said.
const unsaidByUs: Readonly<Record<string, readonly number[]>> = {
  'element add': [NFTA_SET_ELEM_LIST_SET_ID],
  'element delete': [NFTA_SET_ELEM_LIST_SET_ID],
  'table create': [NFTA_TABLE_FLAGS],
};

const datagrams = (name: string) => golden.vectors[name]!.messages.map((hex) => Buffer.from(hex, 'hex'));
const messages = (name: string) => datagrams(name).flatMap(decodeMessages);
const ofType = (name: string, type: number): NetlinkMessage => messages(name).find((message) => message.type === type)!;
const without = (payload: Buffer, types: readonly number[]): Buffer =>
  Buffer.concat([
    payload.subarray(0, HEADER_SIZE),
    encodeAttributes(decodeAttributes(payload.subarray(HEADER_SIZE)).filter(({ type }) => !types.includes(type))),
  ]);

const key = { value: Buffer.from('06000000' + '1f900000', 'hex') };
const data = { value: Buffer.from('0a5a0002' + '00500000', 'hex') };
const attributes = { table: 'ns', set: 'publish4' };

test.each([
  [
    'element add',
    'NEWSETELEM',
    NLM_F.CREATE,
    setElementsPayload.encode({ family: INET, attributes: { ...attributes, elements: [{ key, data }] } }),
  ],
  [
    'element delete',
    'DELSETELEM',
    0,
    setElementsPayload.encode({ family: INET, attributes: { ...attributes, elements: [{ key }] } }),
  ],
  ['rules delete', 'DELRULE', 0, rulesPayload.encode({ family: INET, attributes: { table: 'ns', chain: 'forward' } })],
  ['set delete', 'DELSET', 0, setPayload.encode({ family: INET, attributes: { table: 'ns', name: 'publish4' } })],
  ['table create', 'NEWTABLE', NLM_F.EXCL, tablePayload.encode({ family: INET, attributes: { name: 'ns2' } })],
  ['table delete', 'DELTABLE', 0, tablePayload.encode({ family: INET, attributes: { name: 'ns' } })],
] as const)('%s is what nft sends', (name, message, flags, payload) => {
  const theirs = datagrams(name).map(decodeMessages).at(-1)!;
  const requests = nftablesBatch([{ type: nftablesType(message), flags, payload }]);
  const ours = requests.map((request) => ({ ...request, flags: (request.flags ?? 0) | NLM_F.REQUEST }));
  expect(theirs.map(({ type, flags: bits }) => ({ type, bits }))).toEqual(
    ours.map(({ type, flags: bits }) => ({ type, bits })),
  );
  const unsaid = unsaidByUs[name] ?? [];
  expect(theirs.map((one) => without(one.payload, unsaid).toString('hex'))).toEqual(
    ours.map((one) => one.payload.toString('hex')),
  );
});

test('elements, rules and their generation are read as the kernel sends them', () => {
  const listed = setElementsPayload.decode(ofType('element list', nftablesType('NEWSETELEM')).payload);
  expect(listed).toMatchObject({ family: INET, attributes: { ...attributes, elements: [{ key, data }] } });
  const [asked] = messages('element add');
  expect(asked).toMatchObject({ type: nftablesType('GETGEN'), payload: generationPayload.encode({}) });
  const generation = generationPayload.decode(ofType('element list', nftablesType('NEWGEN')).payload);
  expect(generation.attributes.id).toBeGreaterThan(0);
  const asksChains = ofType('element add', nftablesType('GETCHAIN'));
  expect(chainPayload.encode({})).toEqual(asksChains.payload);
});

const dumps = [
  [
    'connections IPv4',
    2,
    { source4: '10.77.0.2', destination4: '10.77.0.3' },
    { source4: '10.77.0.3', destination4: '10.77.0.2' },
  ],
  [
    'connections IPv6',
    10,
    { source6: 'fd77::2', destination6: 'fd77::3' },
    { source6: 'fd77::3', destination6: 'fd77::2' },
  ],
] as const;

test.each(dumps)('%s are read as the kernel lists them, and nothing is lost', (name, family, there, back) => {
  const { payload } = ofType(name, conntrackType('NEW'));
  const decoded = connectionPayload.decode(payload);
  expect(decoded).toMatchObject({
    family,
    attributes: {
      original: { addresses: there, protocol: { number: 6, sourcePort: 32_768, destinationPort: 80 } },
      reply: { addresses: back, protocol: { number: 6, sourcePort: 80, destinationPort: 32_768 } },
      id: expect.any(Number),
    },
  });
  const inOrder = (bytes: Buffer): RawAttribute[] =>
    decodeAttributes(bytes.subarray(HEADER_SIZE)).sort((a, b) => a.type - b.type);
  expect(inOrder(connectionPayload.encode(decoded))).toEqual(inOrder(payload));
});

test('connections are listed and cut as conntrack does', () => {
  const ask = { type: conntrackType('GET'), flags: NLM_F.REQUEST | NLM_F.DUMP, sequence: 0, port: 0 };
  const payload = connectionPayload.encode({});
  expect(datagrams('connections list')).toEqual([encodeMessage({ ...ask, payload })]);
  const { flags, payload: theirs } = ofType('connection delete', conntrackType('DELETE'));
  expect(flags).toBe(NLM_F.REQUEST | NLM_F.ACK);
  const { original, reply } = connectionPayload.decode(
    ofType('connections IPv4', conntrackType('NEW')).payload,
  ).attributes;
  const ours = connectionPayload.encode({ family: 2, attributes: { original: original!, reply: reply! } });
  // conntrack says its state, too.
  expect(theirs.subarray(0, ours.length)).toEqual(ours);
});
