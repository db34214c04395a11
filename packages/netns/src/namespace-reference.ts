import { check, F, fileSystemMagic, MAGIC, O, OwnedFd, open, SpecError, SYS, syscall } from '@ns/libc';
import { insideNetworkNamespace, NETLINK, type NetlinkRequest, NetlinkSocket } from '@ns/netlink';
import { pinPath } from './pin.ts';

/**
 * Which network namespace is meant: a {@link NetNamespace} (or anything with a descriptor of one), the one a process is
 * in, a pin or any other path, or the name of a pin under /run/netns.
 */
export type NetnsReference =
  | { readonly fd: number | OwnedFd }
  | { readonly pid: number }
  | { readonly path: string }
  | { readonly name: string };

/** Option of every function that talks to the kernel about the network. */
export interface InNetns {
  /** Default: the network namespace of the calling thread. */
  readonly netns?: NetnsReference | undefined;
}

/** Objects that keep a socket of their namespace open lend it instead of having one opened for each call. */
export interface SocketOwner {
  readonly socket: NetlinkSocket;
}

function ownsSocket(reference: object): reference is SocketOwner {
  return 'socket' in reference && reference.socket instanceof NetlinkSocket;
}

/** Opens the namespace that is meant; the caller closes what it gets. */
export function openReference(reference: NetnsReference, field = 'netns'): OwnedFd {
  if ('fd' in reference) {
    const fd = typeof reference.fd === 'number' ? reference.fd : reference.fd.fd;
    return new OwnedFd(check('fcntl', syscall(SYS.fcntl, fd, F.DUPFD_CLOEXEC, 3)));
  }
  const path = referencePath(reference, field);
  // NONBLOCK: a FIFO planted at the path must not stop the process.
  const opened = open(path, O.RDONLY | O.NONBLOCK);
  if (fileSystemMagic(opened.fd) === MAGIC.NSFS) return opened;
  opened.close();
  throw new SpecError(
    field,
    'a network namespace',
    path,
    'The pin is likely left from an earlier boot: remove the file',
  );
}

function referencePath(reference: Exclude<NetnsReference, { fd: unknown }>, field: string): string {
  if ('pid' in reference) {
    if (!Number.isSafeInteger(reference.pid) || reference.pid <= 0)
      throw new SpecError(`${field}.pid`, 'a process id', reference.pid);
    return `/proc/${reference.pid}/ns/net`;
  }
  if ('path' in reference) return reference.path;
  if ('name' in reference) return pinPath(reference.name);
  throw new SpecError(field, 'a NetNamespace, or an object with fd, pid, path or name', reference);
}

/** Calls `use` with an rtnetlink socket of the namespace. */
export function withSocket<Result>(netns: NetnsReference | undefined, use: (socket: NetlinkSocket) => Result): Result {
  if (netns !== undefined && ownsSocket(netns)) return use(netns.socket);
  using socket = openSocket(netns);
  return use(socket);
}

/** Opens a netlink socket in the namespace. */
export function openSocket(
  netns: NetnsReference | undefined,
  options: { protocol?: number; groups?: readonly number[]; receiveBufferBytes?: number } = {},
): NetlinkSocket {
  const { protocol = NETLINK.ROUTE, ...rest } = options;
  if (netns === undefined) return NetlinkSocket.open({ protocol, ...rest });
  using fd = openReference(netns);
  return NetlinkSocket.open({ protocol, namespaceFd: fd.fd, ...rest });
}

/** Runs a synchronous function with the thread inside the namespace, or where it is when none is given. */
export function insideReference<Result>(netns: NetnsReference | undefined, body: () => Result): Result {
  if (netns === undefined) return body();
  // Nobody closes it meanwhile: all of this is synchronous.
  if ('fd' in netns) return insideNetworkNamespace(typeof netns.fd === 'number' ? netns.fd : netns.fd.fd, body);
  using fd = openReference(netns);
  return insideNetworkNamespace(fd.fd, body);
}

/** Sends one request in the namespace. */
export function send(netns: NetnsReference | undefined, request: NetlinkRequest): void {
  withSocket(netns, (socket) => socket.request(request));
}
