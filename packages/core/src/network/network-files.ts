import { fstatSync, ftruncateSync, readlinkSync, readSync, writeFileSync } from 'node:fs';
import { hasCode, O, type OwnedFd, open, openat2, RESOLVE } from '@ns/libc';
import type { NetNamespace } from '@ns/netns';
import type { PlacedFile } from '../plan/root-steps.ts';
import type { NetworkSpec } from './network-spec.ts';

const localNames = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/** What names a container has and knows. */
export interface KnownNames extends Pick<NetworkSpec, 'extraHosts' | 'dns'> {
  /** Its own, the host name first. */
  readonly names: readonly string[];
  /** Its addresses. */
  readonly addresses: readonly string[];
  /** Name servers of its networks. */
  readonly nameservers: readonly string[];
  /** Address of the host on its networks. */
  readonly hostGateway?: string | undefined;
}

/** Docker's word for the address of the host in `extraHosts`. */
export const hostGatewayWord = 'host-gateway';

/** /etc/hosts and /etc/resolv.conf, as Docker gives them. The latter is the image's where nothing is known. */
export function networkFiles(known: KnownNames): PlacedFile[] {
  const { names, addresses, nameservers, hostGateway, extraHosts = {}, dns } = known;
  const own = addresses.length > 0 ? addresses : ['127.0.1.1'];
  const hosts = [
    ...localNames,
    ...own.map((address) => `${address}\t${names.join(' ')}`),
    ...hostEntries(extraHosts).flatMap(([name, given]) => {
      const address = given === hostGatewayWord ? hostGateway : given;
      // Disconnected from the network where the host has one: nothing is better than a wrong one.
      return address === undefined ? [] : [`${address}\t${name}`];
    }),
  ];
  const servers = dns ?? nameservers;
  return [
    { path: '/etc/hosts', content: lines(hosts) },
    // ndots:0, as Docker has it: a name without a dot is another container's.
    ...(servers.length > 0 || addresses.length > 0
      ? [
          {
            path: '/etc/resolv.conf',
            content: lines([...servers.map((address) => `nameserver ${address}`), ...(dns ? [] : ['options ndots:0'])]),
          },
        ]
      : []),
  ];
}

/** Names and addresses. An entry of text is split where Docker splits it: an IPv6 address has colons, too. */
export function hostEntries(extraHosts: NonNullable<NetworkSpec['extraHosts']>): (readonly [string, string])[] {
  if (!Array.isArray(extraHosts)) return Object.entries(extraHosts);
  return extraHosts.map((entry: string) => {
    const [, name = '', address = ''] = /^([^:=]*)[:=]\[?([^\]]*)\]?$/.exec(entry) ?? [];
    return [name, address];
  });
}

/** Writes them into a running container, as far as it is there and lets itself be written to. */
export function replaceFiles(pid: number, netns: NetNamespace, files: readonly PlacedFile[]): void {
  using root = rootOf(pid, netns);
  if (!root) return;
  for (const { path, content } of files) openFile(root, path, (fd) => replaceText(fd, content));
}

/** Gives its own addresses these names in the /etc/hosts of a running container, and leaves everything else in there. */
export function renameInHosts(
  pid: number,
  netns: NetNamespace,
  addresses: readonly string[],
  names: readonly string[],
): void {
  using root = rootOf(pid, netns);
  if (!root) return;
  // Its own lines come first: what follows is of `extraHosts`, or its programs'.
  const left = new Set(addresses);
  const renamed = (line: string) => {
    const [address = ''] = line.split(/\s/, 1);
    return left.delete(address) ? `${address}\t${names.join(' ')}` : line;
  };
  openFile(root, '/etc/hosts', (fd) => {
    const found = Buffer.alloc(MAX_HOSTS_BYTES + 1);
    const size = readSync(fd, found, 0, found.length, 0);
    if (size > MAX_HOSTS_BYTES) return;
    // Bytes of others stay what they are, text or not.
    const lines = found.toString('latin1', 0, size).split('\n');
    replaceText(fd, Buffer.from(lines.map(renamed).join('\n'), 'latin1'));
  });
}

// Whatever a program has written there: more is no reason to hold it in memory.
const MAX_HOSTS_BYTES = 1 << 20;

/** In this order it is never without any: this process may be killed in between. */
function replaceText(fd: number, text: string | Buffer): void {
  writeFileSync(fd, text);
  ftruncateSync(fd, Buffer.byteLength(text));
}

/** Does something with a file of a container, as far as it is there and lets itself be written to. */
function openFile(root: OwnedFd, path: string, act: (fd: number) => void): void {
  try {
    // Whatever the container has put in the place of these files: a link leads nowhere outside, and a device or a FIFO is
    // not opened, which alone may do something.
    using found = openat2(root.fd, path, {
      flags: O.PATH | O.NOFOLLOW,
      resolve: RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS,
    });
    if (!fstatSync(found.fd).isFile()) return;
    // Nor does it wait for who holds a lease on it (fcntl(2), F_SETLEASE), and this thread with it.
    using file = open(found.procPath, O.RDWR | O.NONBLOCK);
    act(file.fd);
  } catch (error) {
    // Its root is read-only, or it does without such files, or keeps them to itself.
    if (!hasCode(error, ...ignored)) throw error;
  }
}

/** Root of the process with this pid in this namespace: whoever else has got the pid since has another. */
function rootOf(pid: number, netns: NetNamespace): OwnedFd | undefined {
  let root: OwnedFd | undefined;
  try {
    root = open(`/proc/${pid}/root`, O.PATH | O.DIRECTORY);
    if (readlinkSync(`/proc/${pid}/ns/net`) === `net:[${netns.id}]`) return root;
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ESRCH')) throw error;
  }
  root?.close();
  return undefined;
}

const ignored = ['EROFS', 'ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'EAGAIN'];

function lines(text: readonly string[]): string {
  return text.map((line) => `${line}\n`).join('');
}
