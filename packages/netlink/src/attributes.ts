import { binary, type ValueCodec } from './attribute-value.ts';
import { ByteWriter } from './byte-writer.ts';
import { NLA_F } from './constants/netlink.ts';
import { MalformedMessageError } from './errors.ts';

/** An attribute as it is on the wire: type with its flag bits, payload without padding. */
export interface RawAttribute {
  readonly type: number;
  readonly payload: Buffer;
}

const HEADER_SIZE = 4;

/**
 * Splits bytes into attributes: `u16 length, u16 type, payload`, each padded to four bytes.
 *
 * @throws MalformedMessageError on a length that does not fit
 */
export function decodeAttributes(bytes: Buffer): RawAttribute[] {
  const attributes: RawAttribute[] = [];
  // Fewer than four bytes at the end are padding.
  for (let at = 0; at + HEADER_SIZE <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < HEADER_SIZE || at + length > bytes.length) {
      throw new MalformedMessageError(`attribute of ${length} bytes at ${at} of ${bytes.length}`);
    }
    attributes.push({ type: bytes.readUInt16LE(at + 2), payload: bytes.subarray(at + HEADER_SIZE, at + length) });
    at += (length + 3) & ~3;
  }
  return attributes;
}

/** The payload of the first attribute of a type, without looking at those behind it. */
export function findAttribute(bytes: Buffer, wanted: number): Buffer | undefined {
  for (let at = 0; at + HEADER_SIZE <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < HEADER_SIZE || at + length > bytes.length) break;
    if ((bytes.readUInt16LE(at + 2) & NLA_F.TYPE_MASK) === wanted) return bytes.subarray(at + HEADER_SIZE, at + length);
    at += (length + 3) & ~3;
  }
  return undefined;
}

/** The bytes of attributes, padding included. The inverse of {@link decodeAttributes}. */
export function encodeAttributes(attributes: readonly RawAttribute[]): Buffer {
  const out = new ByteWriter();
  for (const { type, payload } of attributes) writeValue(out, type, binary, payload);
  return out.finish();
}

/** Writes one attribute, padding included. */
export function writeValue<Value>(out: ByteWriter, type: number, codec: ValueCodec<Value>, value: Value): void {
  const start = out.length;
  out.u16(0);
  out.u16(type);
  codec.write(out, value);
  const length = out.length - start;
  if (length > 0xffff) throw new MalformedMessageError(`an attribute of ${length} bytes; the limit is 65535`);
  out.patchU16(start, length);
  out.align();
}

/** Attributes nobody described: kept as they came, written back as they are. */
export interface WithUnknown {
  unknown?: readonly RawAttribute[];
}

/** Names the attributes of a message: `mtu: [IFLA.MTU, u32]`. */
export type AttributeTable<T extends object> = {
  readonly [Key in Exclude<keyof T, 'unknown'>]-?: readonly [
    type: number,
    codec: ValueCodec<Exclude<T[Key], undefined>>,
  ];
};

type AnyTable = Readonly<Record<string, readonly [number, ValueCodec<unknown>]>>;

/**
 * Writes the present fields of `values`, in the order of their keys: the kernel reads some attributes in order, and a
 * message can so be made equal to another program's, byte for byte.
 */
export function writeAttributes<T extends WithUnknown>(out: ByteWriter, table: AttributeTable<T>, values: T): void {
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined || key === 'unknown') continue;
    const [type, codec] = (table as AnyTable)[key]!;
    writeValue(out, codec.nested ? type | NLA_F.NESTED : type, codec, value);
  }
  for (const { type, payload } of values.unknown ?? []) writeValue(out, type, binary, payload);
}

const keysByType = new WeakMap<object, Map<number, string>>();

function keysOf(table: AnyTable): Map<number, string> {
  let keys = keysByType.get(table);
  if (!keys) {
    keys = new Map(Object.entries(table).map(([key, [type]]) => [type, key]));
    keysByType.set(table, keys);
  }
  return keys;
}

/** The table's name for an attribute type. */
export function attributeName<T extends object>(table: AttributeTable<T>, type: number): string | undefined {
  return keysOf(table as AnyTable).get(type & NLA_F.TYPE_MASK);
}

/** Reads the attributes a table names; the others are kept under `unknown`. */
export function readAttributes<T extends WithUnknown>(table: AttributeTable<T>, bytes: Buffer): T {
  const keys = keysOf(table as AnyTable);
  const values: Record<string, unknown> = {};
  const unknown: RawAttribute[] = [];
  for (const attribute of decodeAttributes(bytes)) {
    const key = keys.get(attribute.type & NLA_F.TYPE_MASK);
    if (key === undefined) unknown.push({ type: attribute.type, payload: Buffer.from(attribute.payload) });
    else values[key] = (table as AnyTable)[key]![1].read(attribute.payload);
  }
  if (unknown.length > 0) values.unknown = unknown;
  return values as T;
}

/** An attribute whose payload is attributes. */
export function nested<T extends WithUnknown>(table: AttributeTable<T>): ValueCodec<T> {
  return {
    nested: true,
    write: (out, value) => writeAttributes(out, table, value),
    read: (bytes) => readAttributes(table, bytes),
  };
}

/** An attribute whose payload is a list of equal attributes. */
export function listOf<Value>(type: number, item: ValueCodec<Value>): ValueCodec<readonly Value[]> {
  return {
    nested: true,
    write(out, values) {
      for (const value of values) writeValue(out, item.nested ? type | NLA_F.NESTED : type, item, value);
    },
    read: (bytes) => decodeAttributes(bytes).map((attribute) => item.read(attribute.payload)),
  };
}
