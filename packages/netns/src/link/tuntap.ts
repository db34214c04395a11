import { allocate, check, ERRNO, ioctl, O, type OwnedFd, open, SyscallError, UnavailableError } from '@ns/libc';
import { type InNetns, insideReference } from '../namespace-reference.ts';
import { checkLinkName, get, type Link } from './link.ts';

/** A tun (IP packets) or tap (Ethernet frames). */
export interface NewTuntap extends InNetns {
  readonly name: string;
  readonly mode: 'tun' | 'tap';
  /** Who may open it without CAP_NET_ADMIN. */
  readonly ownerUid?: number;
  readonly groupGid?: number;
  readonly multiQueue?: boolean;
}

/* <linux/if_tun.h> */
const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOWNER = 0x400454cc;
const TUNSETGROUP = 0x400454ce;
const IFF_TUN = 0x0001;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_MULTI_QUEUE = 0x0100;
const IFNAMSIZ = 16;

/**
 * Makes a persistent tun or tap: ioctl(TUNSETIFF) on /dev/net/tun, which is not netlink. Needs CAP_NET_ADMIN.
 *
 * @throws UnavailableError without /dev/net/tun
 */
export async function createTuntap(options: NewTuntap): Promise<Link> {
  const name = checkLinkName(options.name);
  insideReference(options.netns, () => {
    using device = attach(name, options);
    configure(device, TUNSETOWNER, options.ownerUid);
    configure(device, TUNSETGROUP, options.groupGid);
    configure(device, TUNSETPERSIST, 1);
  });
  return (await get(name, options))!;
}

/**
 * Opens a tun or tap, to read and write its packets (without a header in front). It is made when it does not exist, and
 * goes away with the descriptor unless it is persistent.
 */
export async function openTuntap(options: NewTuntap): Promise<OwnedFd> {
  return insideReference(options.netns, () => attach(checkLinkName(options.name), options));
}

function attach(name: string, options: NewTuntap): OwnedFd {
  const device = openDevice();
  const request = allocate(40);
  request.bytes.write(name, 0);
  const flags = (options.mode === 'tun' ? IFF_TUN : IFF_TAP) | IFF_NO_PI | (options.multiQueue ? IFF_MULTI_QUEUE : 0);
  request.bytes.writeUInt16LE(flags, IFNAMSIZ);
  const result = ioctl(device.fd, TUNSETIFF, request.address);
  if (result < 0) device.close();
  check('ioctl', result, { doing: `create ${options.mode} '${name}'`, args: { request: 'TUNSETIFF' } });
  return device;
}

function openDevice(): OwnedFd {
  try {
    return open('/dev/net/tun', O.RDWR | O.NONBLOCK);
  } catch (error) {
    if (error instanceof SyscallError && [-ERRNO.ENOENT, -ERRNO.ENODEV].includes(error.errno)) {
      throw new UnavailableError(
        'tun and tap links',
        'there is no /dev/net/tun',
        'Load the module tun and make the node: mknod /dev/net/tun c 10 200',
      );
    }
    throw error;
  }
}

function configure(device: OwnedFd, request: number, value: number | undefined): void {
  if (value !== undefined)
    check('ioctl', ioctl(device.fd, request, value), { doing: 'configure a tun or tap', args: { request, value } });
}
