import { readFileSync, writeFileSync } from 'node:fs';
import { fileCall, SpecError } from '@ns/libc';
import { type InNetns, insideReference } from './namespace-reference.ts';

/**
 * Reads a network sysctl of a namespace: /proc/sys/net shows the namespace of the thread that opens it.
 *
 * @param name - `net.ipv4.ip_forward`; a link name with dots is written with slashes: `net/ipv4/conf/eth0.7/forwarding`
 * @throws SyscallError `ENOENT` when the kernel has no such setting
 */
export async function get(name: string, options: InNetns = {}): Promise<string> {
  return getSync(name, options);
}

/** {@link get} for callers that hold the thread anyway. */
export function getSync(name: string, options: InNetns = {}): string {
  const path = sysctlPath(name);
  return insideReference(options.netns, () => fileCall(path, () => readFileSync(path, 'utf8').trimEnd()));
}

/**
 * Writes a network sysctl. Needs CAP_NET_ADMIN in the namespace's user namespace.
 *
 * @throws SyscallError `ENOENT` when the kernel has no such setting, `EINVAL` when it refuses the value
 */
export async function set(name: string, value: string | number, options: InNetns = {}): Promise<void> {
  setSync(name, value, options);
}

/** {@link set} for callers that hold the thread anyway. */
export function setSync(name: string, value: string | number, options: InNetns = {}): void {
  const path = sysctlPath(name);
  insideReference(options.netns, () => fileCall(path, () => writeFileSync(path, String(value))));
}

function sysctlPath(name: string): string {
  const parts = name.includes('/') ? name.split('/') : name.split('.');
  const [first, ...rest] = parts;
  if (
    first !== 'net' ||
    rest.length === 0 ||
    parts.some((part) => part === '' || part === '..' || part === '.' || part.includes('\0'))
  ) {
    throw new SpecError('name', 'a network sysctl such as net.ipv4.ip_forward', name);
  }
  return `/proc/sys/${parts.join('/')}`;
}
