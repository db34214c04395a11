import {
  type AttributeTable,
  attributeName,
  decodeAttributes,
  readAttributes,
  type WithUnknown,
  writeAttributes,
} from './attributes.ts';
import { ByteWriter } from './byte-writer.ts';
import { NLMSG } from './constants/netlink.ts';
import { MalformedMessageError } from './errors.ts';

/** A netlink message: the fields of `struct nlmsghdr` and what follows it. */
export interface NetlinkMessage {
  /** Message type, such as RTM_NEWLINK. */
  readonly type: number;
  /** Bits of NLM_F. */
  readonly flags: number;
  readonly sequence: number;
  /** Netlink port of the sender; 0 is the kernel. */
  readonly port: number;
  readonly payload: Buffer;
}

const HEADER_SIZE = 16;

/** The bytes of a message, padding included. */
export function encodeMessage(message: NetlinkMessage): Buffer {
  const out = new ByteWriter(HEADER_SIZE + message.payload.length + 3);
  writeMessage(out, message);
  return out.finish();
}

/** Several messages in one buffer, as a batch is sent. */
export function encodeMessages(messages: readonly NetlinkMessage[]): Buffer {
  const out = new ByteWriter(messages.reduce((size, { payload }) => size + HEADER_SIZE + payload.length + 3, 0));
  for (const message of messages) writeMessage(out, message);
  return out.finish();
}

function writeMessage(out: ByteWriter, message: NetlinkMessage): void {
  out.u32(HEADER_SIZE + message.payload.length);
  out.u16(message.type);
  out.u16(message.flags);
  out.u32(message.sequence);
  out.u32(message.port);
  out.raw(message.payload);
  out.align();
}

/**
 * Splits a datagram into messages. Payloads are views of `bytes`.
 *
 * @throws MalformedMessageError on a length that does not fit
 */
export function decodeMessages(bytes: Buffer): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + HEADER_SIZE <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < HEADER_SIZE || at + length > bytes.length) {
      throw new MalformedMessageError(`message of ${length} bytes at ${at} of ${bytes.length}`);
    }
    messages.push({
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      sequence: bytes.readUInt32LE(at + 8),
      port: bytes.readUInt32LE(at + 12),
      payload: bytes.subarray(at + HEADER_SIZE, at + length),
    });
    at += (length + 3) & ~3;
  }
  return messages;
}

/** Is this one of the messages that carry no object: an acknowledgement, the end of a dump, nothing? */
export function isControl(message: NetlinkMessage): boolean {
  return message.type < NLMSG.MIN_TYPE;
}

/** The integers a fixed header consists of, by size in bytes. */
export type HeaderField = 'u8' | 'u16' | 's32' | 'u32' | 'be16' | 'pad8' | 'pad16';

/** A fixed header such as `struct ifinfomsg`, in order. */
export type HeaderTable<Header> = readonly (readonly [name: keyof Header | '', kind: HeaderField])[];

const sizes: Readonly<Record<HeaderField, number>> = { u8: 1, u16: 2, s32: 4, u32: 4, be16: 2, pad8: 1, pad16: 2 };

/** A payload made of a fixed header and attributes. */
export type Payload<Header, Attributes> = Partial<Header> & { readonly attributes?: Attributes };

/** Turns payloads of one message family (links, addresses, ...) into bytes and back. */
export interface PayloadCodec<Header, Attributes> {
  /** Missing header fields are 0. */
  encode(value: Payload<Header, Attributes>): Buffer;
  decode(payload: Buffer): Header & { readonly attributes: Attributes };
  /** The same as {@link encode}, into a message that contains this one (the peer of a veth). */
  write(out: ByteWriter, value: Payload<Header, Attributes>): void;
  /** The name of the attribute that covers the byte `offset` of an encoded payload. */
  attributeAt(payload: Buffer, offset: number): string | undefined;
  /** The name of an attribute type. */
  attributeName(type: number): string | undefined;
}

/** Makes the codec of a message family from its two tables. */
export function payloadCodec<Header extends object, Attributes extends WithUnknown>(
  header: HeaderTable<Header>,
  table: AttributeTable<Attributes>,
): PayloadCodec<Header, Attributes> {
  const headerSize = header.reduce((sum, [, kind]) => sum + sizes[kind], 0);
  const alignedSize = (headerSize + 3) & ~3;

  const write = (out: ByteWriter, value: Payload<Header, Attributes>): void => {
    for (const [name, kind] of header) {
      const field = name === '' ? 0 : Number((value as Partial<Header>)[name] ?? 0);
      writers[kind](out, field);
    }
    out.align();
    if (value.attributes) writeAttributes(out, table, value.attributes);
  };

  return {
    write,
    encode(value) {
      const out = new ByteWriter();
      write(out, value);
      return out.finish();
    },
    decode(payload) {
      if (payload.length < headerSize)
        throw new MalformedMessageError(`header of ${payload.length} bytes, ${headerSize} needed`);
      const fields: Partial<Record<keyof Header, number>> = {};
      let at = 0;
      for (const [name, kind] of header) {
        if (name !== '') fields[name] = readers[kind](payload, at);
        at += sizes[kind];
      }
      return { ...(fields as Header), attributes: readAttributes(table, payload.subarray(alignedSize)) };
    },
    attributeAt(payload, offset) {
      let at = alignedSize;
      for (const { type, payload: value } of decodeAttributes(payload.subarray(alignedSize))) {
        const end = at + ((4 + value.length + 3) & ~3);
        if (offset >= at && offset < end) return attributeName(table, type);
        at = end;
      }
      return undefined;
    },
    attributeName: (type) => attributeName(table, type),
  };
}

const writers: Readonly<Record<HeaderField, (out: ByteWriter, value: number) => void>> = {
  u8: (out, value) => out.u8(value),
  u16: (out, value) => out.u16(value),
  s32: (out, value) => out.u32(value),
  u32: (out, value) => out.u32(value),
  be16: (out, value) => out.be16(value),
  pad8: (out) => out.u8(0),
  pad16: (out) => out.u16(0),
};

const readers: Readonly<Record<HeaderField, (bytes: Buffer, at: number) => number>> = {
  u8: (bytes, at) => bytes.readUInt8(at),
  u16: (bytes, at) => bytes.readUInt16LE(at),
  s32: (bytes, at) => bytes.readInt32LE(at),
  u32: (bytes, at) => bytes.readUInt32LE(at),
  be16: (bytes, at) => bytes.readUInt16BE(at),
  pad8: () => 0,
  pad16: () => 0,
};
