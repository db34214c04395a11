import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { isIPv6, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { NsError } from '@ns/libc';
import type { InNetns } from '../namespace-reference.ts';
import { bindSocket, openSocketIn } from '../ports/bound-socket.ts';

const TIMEOUT_MS = 3_000;
const PATIENCE_MS = 600;
const MAX_MESSAGE = 65_535;

/** Where to ask. */
export interface Upstream extends InNetns {
  readonly address: string;
  readonly port: number;
}

/**
 * Asks the first resolver, and each further one when those before it have been silent for a while; the first answer counts.
 * Each question has a number and a source port of its own, both random, and an answer counts only when it comes from who was
 * asked, and number and question agree: what a forger would have to guess (RFC 5452).
 *
 * @returns the answer with the number of `query`; `undefined` when nobody answered
 */
export async function forward(
  query: Buffer,
  upstreams: readonly Upstream[],
  transport: 'udp' | 'tcp',
): Promise<Buffer | undefined> {
  const answered = new AbortController();
  const attempts = upstreams.map(async (upstream, index) => {
    if (index > 0) await sleep(index * PATIENCE_MS, undefined, { signal: answered.signal, ref: false });
    const sent = Buffer.from(query);
    sent.writeUInt16BE(randomInt(0x10000), 0);
    const answer = await (transport === 'udp' ? askUdp : askTcp)(sent, upstream);
    if (!answer)
      throw new NsError('ERR_NS_DNS_NO_ANSWER', `${upstream.address} does not answer`, {
        hint: 'Name servers that can be reached from the host are given by `dns`, else taken from /etc/resolv.conf',
      });
    return answer;
  });
  const answer = await Promise.any(attempts).catch(() => undefined);
  answered.abort();
  if (answer) query.copy(answer, 0, 0, 2);
  return answer;
}

function answers(query: Buffer, answer: Buffer): boolean {
  if (answer.length < 12 || answer.readUInt16BE(0) !== query.readUInt16BE(0) || (answer[2]! & 0x80) === 0) return false;
  const end = questionEnd(query);
  // Some resolvers leave the question out of an error.
  if (answer.readUInt16BE(4) === 0) return (answer[3]! & 0xf) !== 0;
  return (
    answer.subarray(12, end).toString('latin1').toLowerCase() ===
    query.subarray(12, end).toString('latin1').toLowerCase()
  );
}

function questionEnd(query: Buffer): number {
  let at = 12;
  while (at < query.length && query[at] !== 0) at += query[at]! + 1;
  return at + 5;
}

function askUdp(query: Buffer, { address, port, netns }: Upstream): Promise<Buffer | undefined> {
  const six = isIPv6(address);
  const socket = createSocket(six ? 'udp6' : 'udp4').unref();
  return new Promise<Buffer | undefined>((resolve) => {
    const timer = setTimeout(resolve, TIMEOUT_MS, undefined).unref();
    socket.on('error', () => resolve(undefined));
    socket.on('message', (answer) => {
      if (!answers(query, answer)) return;
      clearTimeout(timer);
      resolve(answer);
    });
    // The kernel chooses the port, which it does at random, and lets in what comes from who was asked.
    const { fd } = bindSocket({ netns, protocol: 'udp', address: six ? '::' : '0.0.0.0', port: 0 });
    socket.bind({ fd: fd.release() }, () => socket.connect(port, address, () => socket.send(query)));
  }).finally(() => socket.close());
}

function askTcp(query: Buffer, { address, port, netns }: Upstream): Promise<Buffer | undefined> {
  const fd = openSocketIn({ netns, protocol: 'tcp', family: isIPv6(address) ? 'inet6' : 'inet' });
  const socket = new Socket({ fd: fd.release(), readable: true, writable: true }).connect({ host: address, port });
  socket.setTimeout(TIMEOUT_MS);
  return new Promise<Buffer | undefined>((resolve) => {
    const framed = Buffer.alloc(query.length + 2);
    framed.writeUInt16BE(query.length, 0);
    query.copy(framed, 2);
    socket.on('connect', () => socket.write(framed));
    socket.on('timeout', () => resolve(undefined));
    socket.on('error', () => resolve(undefined));
    socket.on('close', () => resolve(undefined));
    readFrames(socket, (answer) => resolve(answers(query, answer) ? answer : undefined));
  }).finally(() => socket.destroy());
}

/** DNS over TCP: each message has its length in front. */
export function readFrames(socket: Socket, onMessage: (message: Buffer) => void): void {
  let pending: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 2) {
      const end = 2 + pending.readUInt16BE(0);
      if (pending.length < end) break;
      onMessage(pending.subarray(2, end));
      pending = pending.subarray(end);
    }
    if (pending.length > MAX_MESSAGE + 2) socket.destroy();
  });
}
