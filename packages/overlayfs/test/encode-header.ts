import { HeaderEncoder, type TarEntry } from '../src/tar-header.ts';

/** One header, of its own. */
export function encodeHeader(entry: TarEntry): Buffer {
  const encoder = new HeaderEncoder();
  const length = encoder.encode(entry);
  return Buffer.from(encoder.bytes.subarray(0, length));
}
