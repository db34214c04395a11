import { isIPv6 } from 'node:net';
import { SpecError } from '@ns/libc';

/**
 * The 4 or 16 bytes of an IP address, in network order.
 *
 * @throws SpecError when the text is neither IPv4 nor IPv6; a zone (`fe80::1%eth0`) is refused, the link is named apart
 */
export function parseIpAddress(text: string, field = 'address'): Buffer {
  const four = parseIpv4(text);
  if (four) return four;
  if (!isIPv6(text) || text.includes('%')) throw new SpecError(field, 'an IPv4 or IPv6 address', text);
  return parseIpv6(text);
}

/** Four decimal numbers without leading zeros. */
function parseIpv4(text: string): Buffer | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  const bytes = Buffer.allocUnsafe(4);
  for (let at = 0; at < 4; at++) {
    const digits = match[at + 1]!;
    const number = Number(digits);
    if (number > 255 || (digits.length > 1 && digits.startsWith('0'))) return undefined;
    bytes[at] = number;
  }
  return bytes;
}

function parseIpv6(text: string): Buffer {
  const bytes = Buffer.alloc(16);
  const [head = '', tail] = text.split('::', 2);
  const left = groupsOf(head);
  const right = tail === undefined ? [] : groupsOf(tail);
  left.forEach((group, index) => {
    bytes.writeUInt16BE(group, index * 2);
  });
  right.forEach((group, index) => {
    bytes.writeUInt16BE(group, 16 - (right.length - index) * 2);
  });
  return bytes;
}

function groupsOf(part: string): number[] {
  if (part === '') return [];
  return part.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

/** The text of 4 or 16 bytes; IPv6 as RFC 5952 asks: lower case, the longest run of zero groups shortened. */
export function formatIpAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const groups = Array.from({ length: 8 }, (_, index) => view.readUInt16BE(index * 2));
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (mapped) return `::ffff:${bytes.slice(12).join('.')}`;
  const gap = longestZeroRun(groups);
  const hex = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  return gap.length < 2 ? hex(0, 8) : `${hex(0, gap.start)}::${hex(gap.start + gap.length, 8)}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
