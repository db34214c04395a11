import { isAscii, isUtf8 } from 'node:buffer';

/* A file name is bytes, not text. Names that are UTF-8 are what one expects; each byte that is not becomes a lone
   surrogate U+DC80..U+DCFF (as Python's surrogateescape does), so every name survives the way there and back. */

const escaped = /[\udc80-\udcff]/u;

/** Text for the bytes of a file name. Reversed exactly by {@link encodeFileName}. */
export function decodeFileName(bytes: Buffer): string {
  if (isAscii(bytes)) return bytes.toString('latin1');
  if (isUtf8(bytes)) return bytes.toString();
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    text += length === 0 ? String.fromCharCode(0xdc00 + bytes[at]!) : bytes.toString('utf8', at, at + length);
    at += Math.max(length, 1);
  }
  return text;
}

/** The bytes of a file name given as text. */
export function encodeFileName(name: string): Buffer {
  if (!escaped.test(name)) return Buffer.from(name);
  const parts: Buffer[] = [];
  for (const character of name) {
    parts.push(escaped.test(character) ? Buffer.of(character.charCodeAt(0) - 0xdc00) : Buffer.from(character));
  }
  return Buffer.concat(parts);
}

/**
 * Writes the bytes of a file name where they go, without a copy between: most names are short and ASCII.
 *
 * @returns how many bytes, cut at `max`; negated less one (`-1 - n`) when a NUL is among them
 */
export function writeFileName(name: string, bytes: Uint8Array, at: number, max: number): number {
  const { length } = name;
  if (length <= max) {
    let done = 0;
    for (; done < length; done++) {
      const code = name.charCodeAt(done);
      if (code === 0 || code > 0x7f) break;
      bytes[at + done] = code;
    }
    if (done === length) return length;
  }
  const encoded = encodeFileName(name);
  const written = encoded.copy(bytes, at, 0, Math.min(encoded.length, max));
  return encoded.includes(0) ? -1 - written : written;
}

/** Length of the valid UTF-8 sequence at `at`, 0 when there is none. */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at]!;
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  return at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}
