import { formatIpAddress, NETLINK, packetLogConfigPayload, packetLogPayload, packetLogType } from '@ns/netlink';
import { type InNetns, openSocket } from '../namespace-reference.ts';

/** A connection an egress policy refused. */
export interface RefusedConnection {
  /** When. */
  readonly time: Date;
  /** Name of the bridge it came from. */
  readonly bridge: string;
  readonly source: string;
  readonly destination: string;
  /** `tcp`, `udp`, `icmp`, `icmpv6`, or a number. */
  readonly protocol: string;
  readonly sourcePort: number | undefined;
  readonly port: number | undefined;
}

const COMMAND_BIND = 1;
const COPY_PACKET = 2;
const COPY_BYTES = 128;

const protocolNames: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6', 132: 'sctp' };
const havePorts: ReadonlySet<number> = new Set([6, 17, 132]);

/** How refused connections are listened for. */
export interface RefusedOptions {
  readonly signal?: AbortSignal;
  /** Whether whoever waits for the next one keeps the event loop alive. Default: true. */
  readonly persistent?: boolean;
}

/** Packets of a packet log group (NFLOG, nfnetlink_log) as refused connections. One listener at a time: EBUSY for a second. */
export async function* refusedConnections(
  options: InNetns & RefusedOptions & { readonly group: number },
): AsyncGenerator<RefusedConnection, void, undefined> {
  const { group, netns, signal, persistent = true } = options;
  using socket = openSocket(netns, { protocol: NETLINK.NETFILTER, receiveBufferBytes: 1 << 20 });
  const configure = (attributes: Parameters<typeof packetLogConfigPayload.encode>[0]['attributes']): void => {
    const payload = packetLogConfigPayload.encode({
      resource: group,
      ...(attributes === undefined ? {} : { attributes }),
    });
    socket.request({ type: packetLogType('CONFIG'), payload, doing: `listen to packet log group ${group}` });
  };
  configure({ command: COMMAND_BIND });
  configure({ mode: { copyBytes: COPY_BYTES, mode: COPY_PACKET }, threshold: 1 });
  for await (const message of socket.events({ persistent, ...(signal && { signal }) })) {
    if (message.type !== packetLogType('PACKET')) continue;
    const { payload, prefix = '', time } = packetLogPayload.decode(message.payload).attributes;
    const packet = payload && readPacket(payload);
    if (!packet) continue;
    yield {
      time: time ? new Date(Number(time.seconds) * 1000 + Number(time.microseconds) / 1000) : new Date(),
      bridge: prefix,
      ...packet,
    };
  }
}

/** Addresses and ports of an IP packet; `undefined` when it is cut short. */
function readPacket(packet: Buffer): Omit<RefusedConnection, 'time' | 'bridge'> | undefined {
  const version = (packet[0] ?? 0) >> 4;
  const six = version === 6;
  const headerSize = six ? 40 : ((packet[0] ?? 0) & 0xf) * 4;
  if ((version !== 4 && !six) || headerSize < 20 || packet.length < headerSize) return undefined;
  const [from, size] = six ? [8, 16] : [12, 4];
  const number = packet[six ? 6 : 9]!;
  const ports = havePorts.has(number) && packet.length >= headerSize + 4;
  return {
    source: formatIpAddress(packet.subarray(from, from + size)),
    destination: formatIpAddress(packet.subarray(from + size, from + 2 * size)),
    protocol: protocolNames[number] ?? String(number),
    sourcePort: ports ? packet.readUInt16BE(headerSize) : undefined,
    port: ports ? packet.readUInt16BE(headerSize + 2) : undefined,
  };
}
