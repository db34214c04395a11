import {
  decodeAttributes,
  decodeMessages,
  encodeAttributes,
  encodeMessages,
  formatIpAddress,
  linkPayload,
  MalformedMessageError,
  parseIpAddress,
} from '@ns/netlink';
import fc from 'fast-check';

test('attributes: any list comes back as it was, padded to four bytes', () => {
  const attribute = fc.record({
    type: fc.integer({ min: 0, max: 0xffff }),
    payload: fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
  });
  fc.assert(
    fc.property(fc.array(attribute), (attributes) => {
      const bytes = encodeAttributes(attributes);
      expect(bytes.length % 4).toBe(0);
      expect(decodeAttributes(bytes)).toEqual(attributes);
    }),
  );
});

test('messages: any list comes back as it was', () => {
  const u32 = fc.nat(0xffffffff);
  const message = fc.record({
    type: fc.nat(0xffff),
    flags: fc.nat(0xffff),
    sequence: u32,
    port: u32,
    payload: fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
  });
  fc.assert(
    fc.property(fc.array(message), (messages) => expect(decodeMessages(encodeMessages(messages))).toEqual(messages)),
  );
});

test('hostile bytes throw MalformedMessageError or decode, and nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const decode of [decodeAttributes, decodeMessages]) {
        try {
          decode(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedMessageError);
        }
      }
    }),
  );
});

test('unknown attributes are kept and written back', () => {
  const unknown = [{ type: 999, payload: Buffer.from([1, 2, 3]) }];
  const bytes = linkPayload().encode({ index: 7, attributes: { name: 'x', unknown } });
  const decoded = linkPayload().decode(bytes);
  expect(decoded.attributes.unknown).toEqual(unknown);
  expect(linkPayload().encode(decoded)).toEqual(bytes);
});

test('a kind without a table keeps its data', () => {
  const info = { kind: 'made-up', data: { unknown: [{ type: 3, payload: Buffer.from('abcd') }] } };
  const decoded = linkPayload().decode(linkPayload().encode({ attributes: { name: 'x', info } }));
  expect(decoded.attributes.info).toEqual(info);
});

test.each([
  ['0.0.0.0', '00000000'],
  ['255.1.2.3', 'ff010203'],
  ['::', '00'.repeat(16)],
  ['::1', `${'00'.repeat(15)}01`],
  ['fe80::1:0:0:2', 'fe80000000000000'.concat('0001000000000002')],
  ['2001:db8::1', `20010db8${'00'.repeat(11)}01`],
  ['::ffff:10.0.0.1', `${'00'.repeat(10)}ffff0a000001`],
  ['1:0:2:0:3:0:4:0', '00010000000200000003000000040000'],
])('address %s', (text, hex) => {
  expect(parseIpAddress(text).toString('hex')).toBe(hex);
  expect(formatIpAddress(Buffer.from(hex, 'hex'))).toBe(text);
});

test('IPv6 text round-trips for any bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      expect([...parseIpAddress(formatIpAddress(bytes))]).toEqual([...bytes]);
    }),
  );
});

test.each(['', '1.2.3', '1.2.3.4.5', '01.2.3.4', '::1%eth0', 'localhost', '1.2.3.256'])('%p is no address', (text) => {
  expect(() => parseIpAddress(text)).toThrow(expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC' }));
});
