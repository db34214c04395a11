/** A buffer that grows. Integers are written in host order, which is little-endian on every machine Node and this library share. */
export class ByteWriter {
  #bytes: Buffer;
  #length = 0;

  constructor(size = 512) {
    // Every byte up to the length is written before it is read; clearing them first would cost more than all the rest.
    this.#bytes = Buffer.allocUnsafe(size);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** A view of what was written; valid until the next write. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#length = this.#bytes.writeUInt16LE(value & 0xffff, this.#length);
  }

  u32(value: number): void {
    this.#reserve(4);
    // >>> 0: interface indexes are signed and travel in the same four bytes.
    this.#length = this.#bytes.writeUInt32LE(value >>> 0, this.#length);
  }

  u64(value: number | bigint): void {
    this.#reserve(8);
    this.#length = this.#bytes.writeBigUInt64LE(BigInt(value), this.#length);
  }

  be16(value: number): void {
    this.#reserve(2);
    this.#length = this.#bytes.writeUInt16BE(value, this.#length);
  }

  be32(value: number): void {
    this.#reserve(4);
    this.#length = this.#bytes.writeUInt32BE(value >>> 0, this.#length);
  }

  be64(value: number | bigint): void {
    this.#reserve(8);
    this.#length = this.#bytes.writeBigUInt64BE(BigInt(value), this.#length);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** NLMSG_ALIGN and NLA_ALIGN: zeros up to a multiple of four. */
  align(): void {
    const padding = -this.#length & 3;
    this.#reserve(padding);
    this.#bytes.fill(0, this.#length, this.#length + padding);
    this.#length += padding;
  }

  /** Overwrites two bytes written earlier: lengths are known only afterwards. */
  patchU16(at: number, value: number): void {
    this.#bytes.writeUInt16LE(value, at);
  }

  patchU32(at: number, value: number): void {
    this.#bytes.writeUInt32LE(value, at);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
