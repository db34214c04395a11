import { createSocket, type Socket as Datagram } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { rollBack, SpecError } from '@ns/libc';
import {
  type Answer,
  decode,
  encode,
  type Packet,
  type Question,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
} from 'dns-packet';
import type { InNetns } from '../namespace-reference.ts';
import { bindSocket } from '../ports/bound-socket.ts';
import { ClientShares } from './client-shares.ts';
import { forward, readFrames, type Upstream } from './forward.ts';
import { hostResolvers } from './host-resolvers.ts';
import type { NamePolicy } from './name-policy.ts';
import { NameTable } from './name-table.ts';

/** How to start a {@link Resolver}. */
export interface ResolverOptions extends InNetns {
  /** Addresses to listen on, port 53: the gateways of the network. */
  readonly listen: readonly string[];
  /** Default 53. */
  readonly port?: number;
  /** Resolvers for all other names, in order. Default: the host's. An empty list answers only for the network's own names. */
  readonly upstreams?: readonly (string | { readonly address: string; readonly port: number })[];
  /** The policy of a client, by its address; `undefined` for one that may know and reach everything. */
  readonly policyFor?: (client: string) => NamePolicy | undefined;
  /** Brings {@link Resolver.names} up to date; called before each question is answered. */
  readonly refresh?: () => void | Promise<void>;
  /**
   * Seconds for which an answer about a name of the network may be kept, and is open where a policy lets it through, 0 to
   * 86,400. Default 5: containers come and go.
   */
  readonly ttlSec?: number;
  /** Called with each name the policy refused. */
  readonly onRefused?: (refused: { readonly name: string; readonly client: string; readonly time: Date }) => void;
}

/** Response codes, RFC 1035. */
const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4 } as const;
const MAX_UDP = 512;
const QUESTIONS = { each: 128, all: 512 };
const CONNECTIONS = { each: 32, all: 512 };
const TCP_IDLE_MS = 10_000;

/**
 * The name server of one network, in this process: answers for its containers' names and aliases, and passes the rest on.
 * Listens inside the network namespace of the bridge. Port 53 needs CAP_NET_BIND_SERVICE.
 *
 * It keeps no cache, speaks UDP and TCP, and does not keep the event loop alive. Each client has 128 questions and 32 connections
 * of the 512 that there are for all.
 *
 * @example
 * await using resolver = await Resolver.start({ listen: ['10.88.0.1'] });
 * resolver.names.add('container-1', 'web', '10.88.0.2');
 */
export class Resolver implements AsyncDisposable {
  /** Names of this network. */
  readonly names = new NameTable();
  readonly #options: ResolverOptions;
  readonly #ttlSec: number;
  readonly #upstreams: readonly Upstream[];
  readonly #datagrams: Datagram[] = [];
  readonly #servers: Server[] = [];
  readonly #connections = new Set<Socket>();
  readonly #questionShares = new ClientShares(QUESTIONS);
  readonly #connectionShares = new ClientShares(CONNECTIONS);

  private constructor(options: ResolverOptions, upstreams: readonly Upstream[]) {
    const { ttlSec = 5 } = options;
    if (!Number.isInteger(ttlSec) || ttlSec < 0 || ttlSec > 86_400)
      throw new SpecError('ttlSec', 'seconds from 0 to 86400', ttlSec);
    this.#options = options;
    this.#ttlSec = ttlSec;
    this.#upstreams = upstreams;
  }

  /** @throws SyscallError EADDRINUSE when something listens there already; SpecError */
  static async start(options: ResolverOptions): Promise<Resolver> {
    const upstreams = options.upstreams ?? (await hostResolvers());
    const resolver = new Resolver(
      options,
      upstreams.map((upstream) => ({
        netns: options.netns,
        ...(typeof upstream === 'string' ? { address: upstream, port: 53 } : upstream),
      })),
    );
    try {
      for (const address of options.listen) await resolver.#listen(address);
    } catch (error) {
      throw await rollBack(error, () => resolver.close());
    }
    return resolver;
  }

  /** Stops listening. Idempotent. */
  async close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    const datagrams = this.#datagrams
      .splice(0)
      .map((socket) => new Promise<void>((resolve) => socket.close(() => resolve())));
    const servers = this.#servers
      .splice(0)
      .map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    await Promise.all([...datagrams, ...servers]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #listen(address: string): Promise<void> {
    const { netns, port = 53 } = this.#options;
    const udp = bindSocket({ netns, protocol: 'udp', address, port });
    const datagram = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    this.#datagrams.push(datagram);
    datagram.on('error', ignore);
    datagram.on('message', (query, client) => {
      void this.#answer(query, client.address, 'udp').then((answer) => {
        if (answer && this.#datagrams.includes(datagram)) datagram.send(answer, client.port, client.address, ignore);
      });
    });
    await new Promise<void>((resolve) => datagram.bind({ fd: udp.fd.release() }, resolve));
    datagram.unref();

    const tcp = bindSocket({ netns, protocol: 'tcp', address, port });
    const server = createServer((connection) => this.#serve(connection));
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen({ fd: tcp.fd.release() }, resolve));
    server.unref();
  }

  #serve(connection: Socket): void {
    const client = connection.remoteAddress ?? '';
    connection.on('error', ignore);
    if (!this.#connectionShares.take(client)) {
      connection.destroy();
      return;
    }
    this.#connections.add(connection);
    connection.on('close', () => {
      this.#connections.delete(connection);
      this.#connectionShares.giveBack(client);
    });
    // Who does not read its answers is asked no more.
    connection.on('drain', () => connection.resume());
    connection.setTimeout(TCP_IDLE_MS, () => connection.destroy());
    connection.unref();
    readFrames(connection, (query) => {
      void this.#answer(query, client, 'tcp').then((answer) => {
        if (!answer || connection.destroyed) return;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(answer.length);
        if (!connection.write(Buffer.concat([length, answer]))) connection.pause();
      });
    });
  }

  /** The answer to a query; `undefined` for what deserves none. Never rejects: whatever a container sends, the resolver goes on. */
  async #answer(query: Buffer, client: string, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    if (!this.#questionShares.take(client)) return undefined;
    try {
      const packet = parse(query);
      // An answer is never answered: two resolvers could talk for ever.
      if (packet?.type !== 'query') return undefined;
      const [question, ...more] = packet.questions ?? [];
      if (!question || more.length > 0) return reply(packet, RCODE.FORMERR);
      if (packet.opcode !== undefined && packet.opcode !== 'QUERY') return reply(packet, RCODE.NOTIMP);
      const answer = await this.#resolve(query, packet, question, client, transport);
      return transport === 'udp' ? fitted(answer, packet) : answer;
    } catch {
      return undefined;
    } finally {
      this.#questionShares.giveBack(client);
    }
  }

  async #resolve(
    query: Buffer,
    packet: Packet,
    question: Question,
    client: string,
    transport: 'udp' | 'tcp',
  ): Promise<Buffer> {
    await this.#options.refresh?.();
    const name = question.name.toLowerCase().replace(/\.$/, '');
    const { policyFor, onRefused } = this.#options;
    const policy = policyFor?.(client);
    const refuse = (): Buffer => {
      onRefused?.({ name, client, time: new Date() });
      return reply(packet, RCODE.NXDOMAIN);
    };
    if (question.type === 'PTR') {
      const names = this.names.reverse(name).filter((one) => policy?.allowsNeighbour(one) ?? true);
      if (names.length > 0) return reply(packet, RCODE.NOERROR, pointers(question, names, this.#ttlSec));
    } else if (this.names.has(name)) {
      if (policy && !policy.allowsNeighbour(name)) return refuse();
      return reply(packet, RCODE.NOERROR, this.#ownAnswers(name, question, policy));
    }
    // A name without a dot is a container's or nobody's; it would only tell others what runs here.
    if (!name.includes('.') || this.#upstreams.length === 0 || isPrivatePointer(name))
      return reply(packet, RCODE.NXDOMAIN);
    if (policy && !policy.allowsName(name)) return refuse();
    const answer = await forward(query, this.#upstreams, transport);
    if (!answer) return reply(packet, RCODE.SERVFAIL);
    if (!policyFor) return answer;
    // It may have been changed meanwhile, here or by another process.
    await this.#options.refresh?.();
    const current = policyFor(client);
    if (current && !current.allowsName(name)) return refuse();
    return current ? this.#opened(current, name, packet, answer) : answer;
  }

  /** Addresses of a container on the network; none where the name exists with nothing of this type. */
  #ownAnswers(name: string, { name: asked, type }: Question, policy: NamePolicy | undefined): Answer[] {
    if (type !== 'A' && type !== 'AAAA') return [];
    const addresses = this.names.addresses(name, type === 'A' ? 'inet' : 'inet6');
    policy?.openNeighbour(
      name,
      addresses.map((address) => ({ address, ttlSec: this.#ttlSec })),
    );
    return addresses.map((data) => ({ name: asked, ttl: this.#ttlSec, class: 'IN', type, data }));
  }

  /** Opens the addresses of an answer before the container has it, and leaves out those it must not have. */
  #opened(policy: NamePolicy, name: string, packet: Packet, answer: Buffer): Buffer {
    const decoded = parse(answer);
    if (!decoded) return reply(packet, RCODE.SERVFAIL);
    const records = decoded.answers ?? [];
    const addresses = records.flatMap((record) =>
      record.type === 'A' || record.type === 'AAAA' ? [{ address: record.data, ttlSec: record.ttl ?? 0 }] : [],
    );
    const kept = new Set(policy.openResolved(name, addresses));
    if (kept.size === addresses.length) return answer;
    const answers = records.filter(
      (record) => (record.type !== 'A' && record.type !== 'AAAA') || kept.has(record.data),
    );
    return reply(packet, RCODE.NOERROR, answers);
  }
}

function ignore(): void {}

function pointers({ name }: Question, names: readonly string[], ttl: number): Answer[] {
  return names.map((data) => ({ name, ttl, class: 'IN', type: 'PTR', data }));
}

function parse(bytes: Buffer): (Packet & { opcode?: string }) | undefined {
  try {
    return decode(bytes) as Packet & { opcode?: string };
  } catch {
    return undefined;
  }
}

function reply(query: Packet, rcode: number, answers: Answer[] = []): Buffer {
  return encode({
    type: 'response',
    ...(query.id === undefined ? {} : { id: query.id }),
    // dns-packet takes the response code from the low bits of the flags.
    flags: ((query.flags ?? 0) & RECURSION_DESIRED) | RECURSION_AVAILABLE | rcode,
    questions: query.questions ?? [],
    answers,
  });
}

/** What is too long for the client's UDP buffer (EDNS, RFC 6891) is sent empty and marked as cut; the client asks again over TCP. */
function fitted(answer: Buffer, query: Packet): Buffer {
  const edns = query.additionals?.find((record) => record.type === 'OPT') as { udpPayloadSize?: number } | undefined;
  const limit = Math.max(MAX_UDP, edns?.udpPayloadSize ?? MAX_UDP);
  if (answer.length <= limit) return answer;
  const cut = reply(query, RCODE.NOERROR);
  cut[2] = cut[2]! | 0x02;
  return cut;
}

/** Reverse names of private addresses belong to nobody outside (RFC 6303). */
function isPrivatePointer(name: string): boolean {
  return /(?:^|\.)(?:10|168\.192|(?:1[6-9]|2\d|3[01])\.172|254\.169)\.in-addr\.arpa$|(?:^|\.)(?:[cd]\.f|[89ab]\.e\.f)\.ip6\.arpa$/.test(
    name,
  );
}
