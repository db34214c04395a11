import { AF, allocate, check, OwnedFd, SOCK, SOL_SOCKET, SYS, syscall } from '@ns/libc';
import { parseIpAddress } from '@ns/netlink';
import type { Protocol } from '../firewall/set-elements.ts';
import { type InNetns, insideReference } from '../namespace-reference.ts';

const SO_REUSEADDR = 2;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const SOCKADDR_IN6_SIZE = 28;
/** As many as net.core.somaxconn allows; Node sets its own when it takes the socket over. */
const BACKLOG = 511;

/** A socket that has its address. */
export interface BoundSocket {
  readonly fd: OwnedFd;
  readonly family: 'inet' | 'inet6';
  /** The port it got, when any would do. */
  readonly port: number;
}

/**
 * A TCP or UDP socket made and bound inside a network namespace; it stays there. Node makes sockets later, on another
 * turn of the event loop, so they cannot be made this way. TCP listens at once: with SO_REUSEADDR, which lets a port be used
 * again right after its last use, any number of sockets can be bound to it until one listens.
 *
 * @param options - `port` 0: the kernel chooses; `dualStack`: `::` means every address of both versions
 * @throws SyscallError EADDRINUSE, EACCES for a privileged port, EADDRNOTAVAIL when the address is not the host's
 */
export function bindSocket(
  options: InNetns & {
    readonly protocol: Protocol;
    readonly address: string;
    readonly port: number;
    readonly dualStack?: boolean;
  },
): BoundSocket {
  const { protocol, address, port, netns, dualStack = false } = options;
  const doing = `bind ${address} port ${port}/${protocol}`;
  const bytes = parseIpAddress(address);
  const fd = insideReference(netns, () => openSocketHere(protocol, bytes.length));
  try {
    if (protocol === 'tcp') setOption(fd.fd, SOL_SOCKET, SO_REUSEADDR, 1);
    // Said either way: net.ipv6.bindv6only has a default of its own.
    if (bytes.length === 16) setOption(fd.fd, IPPROTO_IPV6, IPV6_V6ONLY, dualStack ? 0 : 1);
    const name = socketAddress(bytes, port);
    check('bind', syscall(SYS.bind, fd.fd, name.address, name.bytes.length), { doing });
    if (protocol === 'tcp') check('listen', syscall(SYS.listen, fd.fd, BACKLOG), { doing });
    return { fd, family: bytes.length === 4 ? 'inet' : 'inet6', port: boundPort(fd.fd) };
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** A TCP or UDP socket inside a network namespace, not bound yet. */
export function openSocketIn(
  options: InNetns & { readonly protocol: Protocol; readonly family: 'inet' | 'inet6' },
): OwnedFd {
  return insideReference(options.netns, () => openSocketHere(options.protocol, options.family === 'inet' ? 4 : 16));
}

function openSocketHere(protocol: Protocol, addressSize: number): OwnedFd {
  const type = (protocol === 'tcp' ? SOCK.STREAM : SOCK.DGRAM) | SOCK.CLOEXEC | SOCK.NONBLOCK;
  return new OwnedFd(check('socket', syscall(SYS.socket, addressSize === 4 ? AF.INET : AF.INET6, type, 0)));
}

function setOption(fd: number, level: number, option: number, value: number): void {
  const { bytes, address } = allocate(4);
  bytes.writeInt32LE(value);
  check('setsockopt', syscall(SYS.setsockopt, fd, level, option, address, 4));
}

function socketAddress(bytes: Buffer, port: number): { bytes: Buffer; address: number } {
  const name = allocate(bytes.length === 4 ? 16 : SOCKADDR_IN6_SIZE);
  name.bytes.writeUInt16LE(bytes.length === 4 ? AF.INET : AF.INET6, 0);
  name.bytes.writeUInt16BE(port, 2);
  bytes.copy(name.bytes, bytes.length === 4 ? 4 : 8);
  return name;
}

function boundPort(fd: number): number {
  const name = allocate(SOCKADDR_IN6_SIZE);
  const size = allocate(4);
  size.bytes.writeInt32LE(SOCKADDR_IN6_SIZE);
  check('getsockname', syscall(SYS.getsockname, fd, name.address, size.address));
  return name.bytes.readUInt16BE(2);
}
