import { write } from 'node:fs';
import { promisify } from 'node:util';
import { AF, addressOf, allocate, check, ERRNO, MSG, OwnedFd, SOCK, SOL_SOCKET, SYS, syscall, watchFd } from '@ns/libc';
import { decodeAcknowledgement } from './acknowledgement.ts';
import { NETLINK, NETLINK_OPTION, NLM_F, NLMSG, SOL_NETLINK } from './constants/netlink.ts';
import { DumpInterruptedError, MalformedMessageError, NetlinkError, OverrunError } from './errors.ts';
import { explainRefusal } from './hints.ts';
import { insideNetworkNamespace } from './inside-network-namespace.ts';
import { decodeMessages, encodeMessage, encodeMessages, isControl, type NetlinkMessage } from './message.ts';
import { describeRequest, messageTypeName } from './message-types.ts';

/** A request, before it has a sequence number. */
export interface NetlinkRequest {
  /** Message type, such as RTM_NEWLINK. */
  readonly type: number;
  /** Bits of NLM_F besides REQUEST, ACK and DUMP, which the methods add. */
  readonly flags?: number;
  readonly payload: Buffer;
  /** What this does, in words, for the error message: `create veth 'eth0'`. */
  readonly doing?: string;
}

/** What came of one request of {@link NetlinkSocket.exchange}. */
export interface BatchOutcome {
  readonly error: NetlinkError | undefined;
  /** The objects the kernel sent before its acknowledgement. */
  readonly answers: readonly NetlinkMessage[];
}

/** How to open a {@link NetlinkSocket}. */
export interface NetlinkSocketOptions {
  /** NETLINK_ROUTE (default) or NETLINK_NETFILTER. */
  readonly protocol?: number;
  /** Descriptor of the network namespace to talk about; the caller's own otherwise. */
  readonly namespaceFd?: number;
  /** Multicast groups to join, see {@link NetlinkSocket.events}. */
  readonly groups?: readonly number[];
  /** SO_RCVBUFFORCE; default the kernel's net.core.rmem_default. Needs CAP_NET_ADMIN. */
  readonly receiveBufferBytes?: number;
}

const writeInBackground = promisify(write);

const SO_RCVBUFFORCE = 33;
const DUMP_ATTEMPTS = 10;
// The kernel makes dump messages as large as the reader's last buffer, up to 32 KiB; single answers stay below 64 KiB.
const RECEIVE_BYTES = 128 * 1024;
const SOCKADDR_NL_SIZE = 12;

// One buffer per thread: every call here is synchronous from send to the last receive.
const received = allocate(RECEIVE_BYTES);
const sender = allocate(SOCKADDR_NL_SIZE);
const senderSize = new Int32Array(1);
const senderSizeAddress = addressOf(senderSize);

/**
 * A netlink socket: socket(AF_NETLINK, SOCK_RAW). Requests are synchronous, and that is no wait: the kernel does the work
 * inside sendto(2) and the answer is there when it returns.
 *
 * Reading needs no privilege; changes need CAP_NET_ADMIN in the user namespace that owns the network namespace. Joining
 * `namespaceFd` needs CAP_SYS_ADMIN, during {@link NetlinkSocket.open} only.
 *
 * @example
 * using socket = NetlinkSocket.open();
 * for (const message of socket.dump({ type: RTM.GETLINK, payload: linkPayload().encode({}) })) {
 *   linkPayload().decode(message.payload).attributes.name;
 * }
 */
export class NetlinkSocket implements Disposable {
  readonly #fd: OwnedFd;
  #sequence = 0;

  private constructor(fd: OwnedFd) {
    this.#fd = fd;
  }

  /** @throws SyscallError when the socket cannot be made, EPERM when `receiveBufferBytes` needs a privilege */
  static open(options: NetlinkSocketOptions = {}): NetlinkSocket {
    const { protocol = NETLINK.ROUTE, namespaceFd, groups = [], receiveBufferBytes } = options;
    const create = (): number => syscall(SYS.socket, AF.NETLINK, SOCK.RAW | SOCK.CLOEXEC | SOCK.NONBLOCK, protocol);
    const result = namespaceFd === undefined ? create() : insideNetworkNamespace(namespaceFd, create);
    const fd = new OwnedFd(check('socket', result, { doing: 'open a netlink socket' }));
    try {
      // The first two are since 4.12 and 4.3, the third since 4.20: without them errors have no text, answers quote the
      // request and filters are ignored. All of it is handled, so a refusal is none of ours.
      for (const option of [NETLINK_OPTION.EXT_ACK, NETLINK_OPTION.CAP_ACK, NETLINK_OPTION.GET_STRICT_CHK])
        setOption(fd.fd, SOL_NETLINK, option, 1);
      if (receiveBufferBytes !== undefined) {
        check('setsockopt', setOption(fd.fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes), {
          doing: 'enlarge the receive buffer',
        });
      }
      if (groups.length > 0) bindToAnyPort(fd.fd);
      for (const group of groups) {
        check('setsockopt', setOption(fd.fd, SOL_NETLINK, NETLINK_OPTION.ADD_MEMBERSHIP, group), {
          doing: `join netlink group ${group}`,
        });
      }
    } catch (error) {
      fd.close();
      throw error;
    }
    return new NetlinkSocket(fd);
  }

  /**
   * Sends a request and waits for its acknowledgement.
   *
   * @returns the objects the kernel sent before it (with NLM_F_ECHO, or for a get request)
   * @throws NetlinkError when the kernel refuses
   */
  request(request: NetlinkRequest): NetlinkMessage[] {
    const sequence = this.#send([acknowledged(request)]);
    return this.#answers(request, sequence);
  }

  /**
   * {@link NetlinkSocket.request} on a thread of libuv's pool, for what makes the kernel wait: removing a link takes an RCU grace period,
   * tens of milliseconds on a busy machine. Do not use the socket meanwhile.
   *
   * @throws NetlinkError when the kernel refuses
   */
  async requestInBackground(request: NetlinkRequest): Promise<NetlinkMessage[]> {
    const message = this.#message(acknowledged(request));
    // write(2) on a netlink socket is sendto(2) to the kernel, and node:fs has it on another thread already.
    await writeInBackground(this.#fd.fd, encodeMessage(message));
    return this.#answers(request, message.sequence);
  }

  /**
   * Lists objects. A list that changed while it was made (NLM_F_DUMP_INTR) is made again.
   *
   * @throws NetlinkError when the kernel refuses
   * @throws DumpInterruptedError when ten attempts were interrupted
   */
  dump(request: NetlinkRequest): NetlinkMessage[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const found = this.#dumpOnce(request);
      if (found) return found;
    }
    throw new DumpInterruptedError(DUMP_ATTEMPTS);
  }

  /** {@link dump} that lets the event loop run between datagrams, for lists of many thousands. Do not use the socket meanwhile. */
  async dumpInTurns(request: NetlinkRequest): Promise<NetlinkMessage[]> {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const steps = this.#dumpSteps(request);
      for (let step = steps.next(); ; step = steps.next()) {
        if (!step.done) await new Promise(setImmediate);
        else if (step.value) return step.value;
        else break;
      }
    }
    throw new DumpInterruptedError(DUMP_ATTEMPTS);
  }

  /**
   * Sends several requests in one system call. Each is done or refused by itself, in order; the kernel goes on after a
   * refusal.
   *
   * @returns for each request `undefined`, or the error it met
   */
  batch(requests: readonly NetlinkRequest[]): (NetlinkError | undefined)[] {
    return this.exchange(requests).map(({ error }) => error);
  }

  /**
   * {@link batch} that returns the objects the kernel sent too: for get requests among the others.
   *
   * @example
   * const [made, found] = socket.exchange([createLink, getLink]);
   */
  exchange(requests: readonly NetlinkRequest[]): BatchOutcome[] {
    const outcomes: BatchOutcome[] = [];
    // Answers queue up in the receive buffer (208 KiB by default; a refusal takes under 1 KiB with its bookkeeping).
    for (let start = 0; start < requests.length; start += 64)
      outcomes.push(...this.#batchChunk(requests.slice(start, start + 64)));
    return outcomes;
  }

  /**
   * Sends messages that the kernel takes as one transaction (nfnetlink: everything between NFNL_MSG_BATCH_BEGIN and END).
   *
   * @throws NetlinkError the first refusal; nothing was changed then
   */
  transaction(requests: readonly NetlinkRequest[]): void {
    // The end of the frame is no request, so the one before it is the last that is acknowledged.
    const last = this.#send([...acknowledgingLast(requests.slice(0, -1)), ...requests.slice(-1)]) - 1;
    const first = last - requests.length + 2;
    let refused: NetlinkError | undefined;
    for (let done = false; !done && !refused; ) {
      for (const message of this.#receive()) {
        if (message.type !== NLMSG.ERROR) continue;
        refused ??= refusal(requests[message.sequence - first] ?? requests[0]!, message);
        done = message.sequence === last;
      }
    }
    if (refused) {
      this.#drain();
      throw refused;
    }
  }

  /**
   * Multicast messages of the joined groups, as they come. Ends when the socket is closed, the loop is left or `signal`
   * aborts. The iteration keeps the event loop alive while it is waited for, unless `persistent` is false.
   *
   * @throws OverrunError when the kernel had to drop messages: list again, then listen again
   */
  async *events(
    options: { signal?: AbortSignal; persistent?: boolean } = {},
  ): AsyncGenerator<NetlinkMessage, void, undefined> {
    const { signal, persistent = true } = options;
    while (!signal?.aborted && !this.#fd.closed) {
      const messages = this.#receiveNow();
      if (messages === undefined) {
        await this.#readable(signal, persistent);
        continue;
      }
      for (const message of messages) if (!isControl(message)) yield detach(message);
    }
  }

  /** Closes the socket and ends its {@link events}. Idempotent. */
  close(): void {
    this.#wake?.();
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #wake: (() => void) | undefined;

  #readable(signal: AbortSignal | undefined, persistent: boolean): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        watch.close();
        signal?.removeEventListener('abort', finish);
        this.#wake = undefined;
        resolve();
      };
      const watch = watchFd(this.#fd.fd, { readable: true }, finish);
      if (!persistent) watch.unref();
      this.#wake = finish;
      signal?.addEventListener('abort', finish, { once: true });
    });
  }

  #answers(request: NetlinkRequest, sequence: number): NetlinkMessage[] {
    const answers: NetlinkMessage[] = [];
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG.ERROR) {
          failOnError(request, message);
          return answers;
        }
        if (!isControl(message)) answers.push(detach(message));
      }
    }
  }

  /** Returns the sequence number of the last one. */
  #send(requests: readonly NetlinkRequest[]): number {
    const bytes = encodeMessages(requests.map((request) => this.#message(request)));
    check('sendto', syscall(SYS.sendto, this.#fd.fd, addressOf(bytes), bytes.length), {
      doing: describeRequest(requests[0]!),
    });
    return this.#sequence;
  }

  #message({ type, flags = 0, payload }: NetlinkRequest): NetlinkMessage {
    return { type, flags: flags | NLM_F.REQUEST, sequence: this.#nextSequence(), port: 0, payload };
  }

  #nextSequence(): number {
    this.#sequence = this.#sequence >= 0x7fffffff ? 1 : this.#sequence + 1;
    return this.#sequence;
  }

  #batchChunk(requests: readonly NetlinkRequest[]): BatchOutcome[] {
    const last = this.#send(acknowledgingLast(requests));
    const first = last - requests.length + 1;
    const outcomes = requests.map(() => ({
      error: undefined as NetlinkError | undefined,
      answers: [] as NetlinkMessage[],
    }));
    for (let done = false; !done; ) {
      for (const message of this.#receive()) {
        const at = message.sequence - first;
        const outcome = outcomes[at];
        if (!outcome) continue;
        if (message.type === NLMSG.ERROR) {
          outcome.error = refusal(requests[at]!, message);
          done = message.sequence === last;
        } else if (!isControl(message)) outcome.answers.push(detach(message));
      }
    }
    return outcomes;
  }

  #dumpOnce(request: NetlinkRequest): NetlinkMessage[] | undefined {
    const steps = this.#dumpSteps(request);
    for (let step = steps.next(); ; step = steps.next()) if (step.done) return step.value;
  }

  /** One datagram per step; the result is `undefined` when the list changed under way. */
  *#dumpSteps(request: NetlinkRequest): Generator<undefined, NetlinkMessage[] | undefined, undefined> {
    const sequence = this.#send([{ ...request, flags: (request.flags ?? 0) | NLM_F.DUMP }]);
    const found: NetlinkMessage[] = [];
    let interrupted = false;
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== sequence) continue;
        if ((message.flags & NLM_F.DUMP_INTR) !== 0) interrupted = true;
        if (message.type === NLMSG.ERROR) failOnError(request, message);
        else if (message.type === NLMSG.DONE) {
          if (message.payload.length >= 4) failOnError(request, message);
          return interrupted ? undefined : found;
        } else if (!isControl(message)) found.push(detach(message));
      }
      yield;
    }
  }

  /** The next datagram; it is there already, see the class. */
  #receive(): NetlinkMessage[] {
    const messages = this.#receiveNow();
    if (messages === undefined) throw new MalformedMessageError('the kernel did not answer');
    return messages;
  }

  #receiveNow(): NetlinkMessage[] | undefined {
    for (;;) {
      senderSize[0] = SOCKADDR_NL_SIZE;
      const size = syscall(
        SYS.recvfrom,
        this.#fd.fd,
        received.address,
        RECEIVE_BYTES,
        MSG.TRUNC,
        sender.address,
        senderSizeAddress,
      );
      if (size === -ERRNO.EAGAIN) return undefined;
      if (size === -ERRNO.EINTR) continue;
      if (size === -ERRNO.ENOBUFS) throw new OverrunError();
      check('recvfrom', size, { doing: 'read from a netlink socket' });
      // Only the kernel has port 0; a process with CAP_NET_ADMIN may send here too, and is not believed.
      if (sender.bytes.readUInt32LE(4) !== 0) continue;
      if (size > RECEIVE_BYTES) throw new MalformedMessageError(`a datagram of ${size} bytes`);
      return decodeMessages(received.bytes.subarray(0, size));
    }
  }

  #drain(): void {
    while (this.#receiveNow() !== undefined);
  }
}

/** The kernel passes over sockets without a port when it multicasts (its own port, 0, is the one it leaves out). */
function bindToAnyPort(fd: number): void {
  const address = allocate(SOCKADDR_NL_SIZE);
  address.bytes.writeUInt16LE(AF.NETLINK, 0);
  check('bind', syscall(SYS.bind, fd, address.address, SOCKADDR_NL_SIZE), { doing: 'give a netlink socket its port' });
}

function setOption(fd: number, level: number, option: number, value: number): number {
  const argument = new Int32Array([value]);
  return syscall(SYS.setsockopt, fd, level, option, addressOf(argument), 4);
}

function acknowledged(request: NetlinkRequest): NetlinkRequest {
  return { ...request, flags: (request.flags ?? 0) | NLM_F.ACK };
}

/** The kernel takes requests in order and always says what it refuses: with the last one acknowledged, the others are known. */
function acknowledgingLast(requests: readonly NetlinkRequest[]): NetlinkRequest[] {
  return requests.map((request, at) => (at === requests.length - 1 ? acknowledged(request) : request));
}

/** A copy that outlives the shared receive buffer. */
function detach(message: NetlinkMessage): NetlinkMessage {
  return { ...message, payload: Buffer.from(message.payload) };
}

function refusal(request: NetlinkRequest, message: NetlinkMessage): NetlinkError | undefined {
  const acknowledgement = decodeAcknowledgement(message);
  if (acknowledgement.errno === 0) return undefined;
  const operation = messageTypeName(request.type);
  return new NetlinkError(operation, acknowledgement.errno, {
    doing: describeRequest(request),
    kernelMessage: acknowledgement.message,
    ...explainRefusal(request, acknowledgement),
  });
}

function failOnError(request: NetlinkRequest, message: NetlinkMessage): void {
  const error = refusal(request, message);
  if (error) throw error;
}
