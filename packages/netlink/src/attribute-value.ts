import { SpecError } from '@ns/libc';
import type { ByteWriter } from './byte-writer.ts';
import { MalformedMessageError } from './errors.ts';
import { formatIpAddress, parseIpAddress } from './ip-address.ts';

/** How one kind of value looks in an attribute's payload. */
export interface ValueCodec<Value> {
  readonly write: (out: ByteWriter, value: Value) => void;
  readonly read: (payload: Buffer) => Value;
  /** Set the NLA_F_NESTED bit: the payload is attributes again. */
  readonly nested?: true;
}

function exact(payload: Buffer, size: number): Buffer {
  if (payload.length < size) throw new MalformedMessageError(`${payload.length} bytes where ${size} are needed`);
  return payload;
}

/* Integers: host order unless the name says big-endian. */
export const u8: ValueCodec<number> = {
  write: (out, value) => out.u8(value),
  read: (bytes) => exact(bytes, 1).readUInt8(0),
};
export const u16: ValueCodec<number> = {
  write: (out, value) => out.u16(value),
  read: (bytes) => exact(bytes, 2).readUInt16LE(0),
};
export const u32: ValueCodec<number> = {
  write: (out, value) => out.u32(value),
  read: (bytes) => exact(bytes, 4).readUInt32LE(0),
};
export const s32: ValueCodec<number> = {
  write: (out, value) => out.u32(value),
  read: (bytes) => exact(bytes, 4).readInt32LE(0),
};
export const u64: ValueCodec<bigint> = {
  write: (out, value) => out.u64(value),
  read: (bytes) => exact(bytes, 8).readBigUInt64LE(0),
};
export const be16: ValueCodec<number> = {
  write: (out, value) => out.be16(value),
  read: (bytes) => exact(bytes, 2).readUInt16BE(0),
};
export const be32: ValueCodec<number> = {
  write: (out, value) => out.be32(value),
  read: (bytes) => exact(bytes, 4).readUInt32BE(0),
};
export const be64: ValueCodec<bigint> = {
  write: (out, value) => out.be64(value),
  read: (bytes) => exact(bytes, 8).readBigUInt64BE(0),
};

/** One byte, 0 or 1. */
export const bool8: ValueCodec<boolean> = {
  write: (out, value) => out.u8(value ? 1 : 0),
  read: (bytes) => exact(bytes, 1)[0] !== 0,
};

/** Text that ends with a NUL byte. */
export const text: ValueCodec<string> = {
  write(out, value) {
    if (value.includes('\0')) throw new SpecError('text', 'text without NUL bytes', value);
    out.raw(Buffer.from(value));
    out.u8(0);
  },
  read(bytes) {
    const end = bytes.indexOf(0);
    return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
  },
};

/** Any bytes. */
export const binary: ValueCodec<Buffer> = {
  write: (out, value) => out.raw(value),
  read: (bytes) => Buffer.from(bytes),
};

/** A link-layer address in the usual notation: `02:42:ac:11:00:02`. */
export const macAddress: ValueCodec<string> = {
  write(out, value) {
    if (!/^[0-9a-f]{2}(:[0-9a-f]{2})*$/i.test(value))
      throw new SpecError('mac', 'a link-layer address such as 02:42:ac:11:00:02', value);
    out.raw(Buffer.from(value.replaceAll(':', ''), 'hex'));
  },
  read: (bytes) => bytes.toString('hex').replace(/(..)(?!$)/g, '$1:'),
};

/** An IPv4 or IPv6 address, told apart by length. */
export const ipAddress: ValueCodec<string> = {
  write: (out, value) => out.raw(parseIpAddress(value)),
  read(bytes) {
    if (bytes.length !== 4 && bytes.length !== 16)
      throw new MalformedMessageError(`an IP address of ${bytes.length} bytes`);
    return formatIpAddress(bytes);
  },
};
