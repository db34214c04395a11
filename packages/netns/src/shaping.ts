import { ERRNO, SpecError, UnavailableError } from '@ns/libc';
import {
  ByteWriter,
  decodeAttributes,
  encodeAttributes,
  NetlinkError,
  NLM_F,
  qdiscPayload,
  type RawAttribute,
  RTM,
  TCA_TBF,
} from '@ns/netlink';
import { describeLink, indexOf, type LinkReference } from './link/link.ts';
import { type InNetns, withSocket } from './namespace-reference.ts';

/** How fast a link may send. */
export interface RateLimit {
  /** Bits per second, as network rates are written. At least 8,000. */
  readonly bitsPerSec: number;
  /** Bytes that may go at once. Default a hundredth of a second's worth, at least 32 KiB. */
  readonly burstBytes?: number;
  /** Longest wait before packets are dropped, in milliseconds. Default 50. */
  readonly latencyMs?: number;
}

/** What a bad line does to packets. */
export interface Impairment {
  readonly delayMs?: number;
  /** Delays vary by this much. */
  readonly jitterMs?: number;
  /** Share of packets that are lost, 0 to 1. */
  readonly loss?: number;
  /** Share that arrives twice, 0 to 1. */
  readonly duplicate?: number;
  /** Packets that may wait. Default 1000. */
  readonly queuePackets?: number;
}

/** A queueing discipline of a link. */
export interface Qdisc {
  readonly kind: string;
  readonly index: number;
  /** `8001:` */
  readonly handle: string;
  readonly parent: 'root' | 'ingress' | string;
  /** Of a tbf. */
  readonly bitsPerSec: number | undefined;
  readonly burstBytes: number | undefined;
}

/* <linux/pkt_sched.h> */
const TC_H_ROOT = 0xffffffff;
const TC_H_INGRESS = 0xfffffff1;
const TC_LINKLAYER_ETHERNET = 1;
const RATESPEC_SIZE = 12;
const TCA_NETEM = { LATENCY64: 10, JITTER64: 11 } as const;
// The kernel's clock of packet schedulers ticks every 64 ns.
const NS_PER_TICK = 64;
const U32_MAX = 0xffffffff;

/**
 * Limits what a link sends: a token bucket filter as its root queueing discipline, in place of the one it has. Needs
 * CAP_NET_ADMIN and CONFIG_NET_SCH_TBF.
 *
 * A link is limited in the direction it sends. Of a container's veth, the end on the host limits what the container
 * receives, the end inside what it sends; the latter holds only while the container lacks CAP_NET_ADMIN.
 */
export async function limitRate(link: LinkReference, limit: RateLimit & InNetns): Promise<void> {
  const { bitsPerSec, latencyMs = 50 } = limit;
  if (!Number.isFinite(bitsPerSec) || bitsPerSec < 8_000)
    throw new SpecError('bitsPerSec', 'a rate of at least 8000 bits per second', bitsPerSec);
  const bytesPerSec = Math.round(bitsPerSec / 8);
  const burstBytes = Math.round(limit.burstBytes ?? Math.max(bytesPerSec / 100, 32 * 1024));
  if (burstBytes < 1 || burstBytes > U32_MAX)
    throw new SpecError('burstBytes', 'a positive number of bytes', limit.burstBytes);
  const queueBytes = Math.min(Math.round((bytesPerSec * latencyMs) / 1000) + burstBytes, U32_MAX);
  const parameters = new ByteWriter();
  // Without a link layer the kernel wants a table of transmission times, which it then ignores.
  for (const part of [
    [0, TC_LINKLAYER_ETHERNET],
    [0, 0],
  ] as const)
    for (const byte of part) parameters.u8(byte);
  parameters.u16(0);
  parameters.u16(0);
  parameters.u32(Math.min(bytesPerSec, U32_MAX));
  parameters.raw(Buffer.alloc(RATESPEC_SIZE));
  parameters.u32(queueBytes);
  parameters.u32(0);
  parameters.u32(0);
  const options: RawAttribute[] = [
    { type: TCA_TBF.PARMS, payload: Buffer.from(parameters.finish()) },
    { type: TCA_TBF.BURST, payload: u32(burstBytes) },
  ];
  if (bytesPerSec > U32_MAX) options.push({ type: TCA_TBF.RATE64, payload: u64(BigInt(bytesPerSec)) });
  replaceRoot(link, 'tbf', encodeAttributes(options), limit);
}

/**
 * Makes a link as bad as wanted: netem as its root queueing discipline. Needs CAP_NET_ADMIN.
 *
 * @throws UnavailableError without CONFIG_NET_SCH_NETEM
 */
export async function impair(link: LinkReference, impairment: Impairment & InNetns): Promise<void> {
  const { delayMs = 0, jitterMs = 0, loss = 0, duplicate = 0, queuePackets = 1000 } = impairment;
  for (const [field, share] of Object.entries({ loss, duplicate }))
    if (!(share >= 0 && share <= 1)) throw new SpecError(field, 'a share from 0 to 1', share);
  const out = new ByteWriter();
  const ticks = (ms: number): number => Math.min(Math.round((ms * 1e6) / NS_PER_TICK), U32_MAX);
  for (const field of [
    ticks(delayMs),
    queuePackets,
    Math.round(loss * U32_MAX),
    0,
    Math.round(duplicate * U32_MAX),
    ticks(jitterMs),
  ])
    out.u32(field);
  // Behind its header, not in an attribute of its own, stand the 64-bit times.
  out.raw(
    encodeAttributes([
      { type: TCA_NETEM.LATENCY64, payload: u64(BigInt(Math.round(delayMs * 1e6))) },
      { type: TCA_NETEM.JITTER64, payload: u64(BigInt(Math.round(jitterMs * 1e6))) },
    ]),
  );
  replaceRoot(link, 'netem', Buffer.from(out.finish()), impairment);
}

/** Gives a link its default queueing discipline back. Idempotent. */
export async function reset(link: LinkReference, options: InNetns = {}): Promise<void> {
  withSocket(options.netns, (socket) => {
    const payload = qdiscPayload.encode({ index: indexOf(socket, link), parent: TC_H_ROOT });
    const [error] = socket.batch([
      { type: RTM.DELQDISC, payload, doing: `reset the queueing discipline of ${describeLink(link)}` },
    ]);
    // ENOENT: it is the default one.
    if (error && error.errno !== -ERRNO.ENOENT) throw error;
  });
}

/** Queueing disciplines of all links, or of one: `tc qdisc show`. */
export async function list(options: InNetns & { readonly link?: LinkReference } = {}): Promise<Qdisc[]> {
  return withSocket(options.netns, (socket) => {
    const index = options.link === undefined ? 0 : indexOf(socket, options.link);
    return socket
      .dump({ type: RTM.GETQDISC, payload: qdiscPayload.encode({ index }), doing: 'list queueing disciplines' })
      .map((message) => qdiscPayload.decode(message.payload))
      .filter((qdisc) => index === 0 || qdisc.index === index)
      .map(({ attributes, ...header }) => ({
        kind: attributes.kind ?? '',
        index: header.index,
        handle: `${(header.handle >>> 16).toString(16)}:`,
        parent:
          header.parent === TC_H_ROOT
            ? 'root'
            : header.parent === TC_H_INGRESS
              ? 'ingress'
              : `${(header.parent >>> 16).toString(16)}:${(header.parent & 0xffff).toString(16)}`,
        ...rateOf(attributes.kind, attributes.options),
      }));
  });
}

function rateOf(
  kind: string | undefined,
  options: Buffer | undefined,
): { bitsPerSec: number | undefined; burstBytes: number | undefined } {
  if (kind !== 'tbf' || !options) return { bitsPerSec: undefined, burstBytes: undefined };
  const found = new Map(decodeAttributes(options).map((attribute) => [attribute.type, attribute.payload]));
  const parameters = found.get(TCA_TBF.PARMS)!;
  const rate64 = found.get(TCA_TBF.RATE64);
  const bytesPerSec = rate64 ? Number(rate64.readBigUInt64LE(0)) : parameters.readUInt32LE(8);
  const bufferTicks = parameters.readUInt32LE(2 * RATESPEC_SIZE + 4);
  return { bitsPerSec: bytesPerSec * 8, burstBytes: Math.round((bufferTicks * NS_PER_TICK * bytesPerSec) / 1e9) };
}

function replaceRoot(link: LinkReference, kind: string, options: Buffer, { netns }: InNetns): void {
  withSocket(netns, (socket) => {
    const payload = qdiscPayload.encode({
      index: indexOf(socket, link),
      parent: TC_H_ROOT,
      attributes: { kind, options },
    });
    try {
      socket.request({
        type: RTM.NEWQDISC,
        flags: NLM_F.CREATE | NLM_F.REPLACE,
        payload,
        doing: `shape ${describeLink(link)} with ${kind}`,
      });
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== 'ENOENT') throw error;
      throw new UnavailableError(
        `queueing discipline ${kind}`,
        'the kernel is built without it',
        `Load the module sch_${kind}, or build the kernel with CONFIG_NET_SCH_${kind.toUpperCase()}`,
      );
    }
  });
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}
