import { type IncomingMessage, request } from 'node:http';
import { Socket } from 'node:net';
import { AF, check, O, OwnedFd, open, SOCK, SYS, SyscallError, syscall, UnavailableError } from '@ns/libc';
import { insideNetworkNamespace } from '@ns/netlink';
import type { ListeningSocket } from './listening-sockets.ts';
import type { HttpCondition } from './wait.ts';

const MAX_BODY = 2 ** 20;

/** An answer of an HTTP server. */
export interface Page {
  readonly status: number;
  readonly body: string;
}

/**
 * Asks an HTTP server in the network namespace of a process.
 *
 * @throws UnavailableError without CAP_SYS_ADMIN over the namespace
 */
export function askPage(
  pid: number,
  listener: ListeningSocket,
  { path, method = 'GET', headers = {} }: { path: string } & HttpCondition,
  signal: AbortSignal,
): Promise<Page> {
  const address = listener.address === '0.0.0.0' ? '127.0.0.1' : listener.address === '::' ? '::1' : listener.address;
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        path,
        method,
        headers: { host: 'localhost', ...headers },
        signal,
        createConnection: () => connectInside(pid, address, listener.port),
      },
      (answer) => readPage(answer).then(resolve, reject),
    );
    asked.on('error', reject);
    asked.end();
  });
}

/** A socket belongs for ever to the namespace it was made in. */
function connectInside(pid: number, host: string, port: number): Socket {
  const family = host.includes(':') ? AF.INET6 : AF.INET;
  const type = SOCK.STREAM | SOCK.CLOEXEC | SOCK.NONBLOCK;
  const fd = inNetworkOf(pid, () => new OwnedFd(check('socket', syscall(SYS.socket, family, type, 0))));
  return new Socket({ fd: fd.release(), readable: true, writable: true }).connect({ host, port });
}

function inNetworkOf<T>(pid: number, body: () => T): T {
  try {
    using namespace = open(`/proc/${pid}/ns/net`, O.RDONLY);
    return insideNetworkNamespace(namespace.fd, body);
  } catch (error) {
    if (!(error instanceof SyscallError && ['EPERM', 'EACCES'].includes(error.code))) throw error;
    throw new UnavailableError(
      'asking for a page inside the container',
      'entering its network namespace takes CAP_SYS_ADMIN on the host',
      'Wait for the port or a line of the log, or let a health check ask from inside',
    );
  }
}

async function readPage(answer: IncomingMessage): Promise<Page> {
  let body = '';
  answer.setEncoding('utf8');
  for await (const text of answer) {
    body += text;
    if (body.length >= MAX_BODY) break;
  }
  return { status: answer.statusCode!, body };
}
