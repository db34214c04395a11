import { addressOf, allocate, check, OwnedFd, SOCK, SYS, syscall } from '@ns/libc';
import { parseIpAddress } from '@ns/netlink';
import { link, type NetNamespace } from '@ns/netns';

/* What a container with CAP_NET_RAW can do: send frames with whatever addresses it likes. */

const AF_PACKET = 17;
const UDP = 17;
const ICMPV6 = 58;
const etherTypes = { ip: 0x0800, arp: 0x0806, ip6: 0x86dd } as const;

/** Addresses of a frame. */
export interface Path {
  readonly fromMac: string;
  readonly toMac: string;
  readonly from: string;
  readonly to: string;
}

/** Sends a frame as it is from eth0 of a namespace. */
export async function sendFrame(netns: NetNamespace, frame: Buffer): Promise<void> {
  const { index } = (await link.get('eth0', { netns }))!;
  netns.run(() => {
    using socket = new OwnedFd(check('socket', syscall(SYS.socket, AF_PACKET, SOCK.RAW | SOCK.CLOEXEC, 0)));
    // struct sockaddr_ll
    const to = allocate(20);
    to.bytes.writeUInt16LE(AF_PACKET, 0);
    to.bytes.writeInt32LE(index, 4);
    check('sendto', syscall(SYS.sendto, socket.fd, addressOf(frame), frame.length, 0, to.address, to.bytes.length));
  });
}

/** A datagram to port 9. */
export function udpFrame(path: Path, text: string): Buffer {
  const payload = Buffer.from(text);
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(9, 0);
  udp.writeUInt16BE(9, 2);
  udp.writeUInt16BE(8 + payload.length, 4);
  return ipFrame(path, UDP, Buffer.concat([udp, payload]), 6);
}

/** The same frame with a VLAN tag of number 0, which the kernel takes off. */
export function tagged(frame: Buffer): Buffer {
  return Buffer.concat([frame.subarray(0, 12), Buffer.from([0x81, 0, 0, 0]), frame.subarray(12)]);
}

/** An answer nobody asked for: `from` is at `fromMac`. */
export function arpFrame({ fromMac, toMac, from, to }: Path): Buffer {
  const arp = Buffer.from([0, 1, 8, 0, 6, 4, 0, 2]);
  const body = Buffer.concat([arp, mac(fromMac), parseIpAddress(from), mac(toMac), parseIpAddress(to)]);
  return ethernet({ fromMac, toMac }, 'arp', body);
}

/** The same for IPv6: `target`, sent from `path.from`, is at `path.fromMac`. */
export function advertisementFrame(path: Path, target: string): Buffer {
  const body = Buffer.concat([
    // Type 136; solicited and override.
    Buffer.from([136, 0, 0, 0, 0x60, 0, 0, 0]),
    parseIpAddress(target),
    Buffer.from([2, 1]),
    mac(path.fromMac),
  ]);
  return ipFrame(path, ICMPV6, body, 2, 255);
}

function ipFrame(path: Path, protocol: number, body: Buffer, checksumAt: number, hops = 64): Buffer {
  const [from, to] = [parseIpAddress(path.from), parseIpAddress(path.to)];
  const pseudo = Buffer.concat([from, to, Buffer.from([0, protocol, body.length >> 8, body.length & 0xff])]);
  body.writeUInt16BE(checksum(Buffer.concat([pseudo, body])), checksumAt);
  if (from.length === 16) {
    const header = Buffer.from([0x60, 0, 0, 0, body.length >> 8, body.length & 0xff, protocol, hops]);
    return ethernet(path, 'ip6', Buffer.concat([header, from, to, body]));
  }
  const header = Buffer.from([0x45, 0, 0, 0, 0, 0, 0, 0, hops, protocol, 0, 0, ...from, ...to]);
  header.writeUInt16BE(header.length + body.length, 2);
  header.writeUInt16BE(checksum(header), 10);
  return ethernet(path, 'ip', Buffer.concat([header, body]));
}

function ethernet(path: Pick<Path, 'fromMac' | 'toMac'>, type: keyof typeof etherTypes, body: Buffer): Buffer {
  const kind = Buffer.from([etherTypes[type] >> 8, etherTypes[type] & 0xff]);
  return Buffer.concat([mac(path.toMac), mac(path.fromMac), kind, body]);
}

function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

// RFC 1071
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

/** A router's word, from the link-local address `path.from`: it is the way out, and this subnet is on the link. */
export function routerFrame(path: Path, prefix: string): Buffer {
  const lifetimes = Buffer.from([0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0]);
  const body = Buffer.concat([
    // Type 134; hop limit 64, no flags, a router for 1,800 seconds; no times of reachability.
    Buffer.from([134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]),
    // Prefix information: on the link, and good for addresses.
    Buffer.from([3, 4, 64, 0xc0]),
    lifetimes,
    parseIpAddress(prefix),
  ]);
  return ipFrame(path, ICMPV6, body, 2, 255);
}
