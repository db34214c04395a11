import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hasCode } from '@ns/libc';

/** Where the host asks for names: nameserver lines of resolv.conf(5), with systemd-resolved's own upstreams instead of its stub. */
export async function hostResolvers(path = '/etc/resolv.conf'): Promise<string[]> {
  const found = parseNameservers(await readIfThere(path));
  // 127.0.0.53 is reached from here, but its upstreams are better company for containers of many networks.
  if (found.length === 1 && found[0] === '127.0.0.53') {
    const upstreams = parseNameservers(await readIfThere('/run/systemd/resolve/resolv.conf'));
    if (upstreams.length > 0) return upstreams;
  }
  return found;
}

/** Addresses of the `nameserver` lines; those with a zone are left out. */
export function parseNameservers(text: string): string[] {
  return [...text.matchAll(/^[ \t]*nameserver[ \t]+(\S+)/gm)]
    .map((match) => match[1]!)
    .filter((address) => isIP(address) !== 0 && !address.includes('%'));
}

/** What a container's /etc/resolv.conf says. */
export interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly search?: readonly string[];
  /** `ndots:0`, `timeout:2` */
  readonly options?: readonly string[];
}

/** The text of a resolv.conf(5). */
export function formatResolvConf({ nameservers, search = [], options = [] }: ResolvConf): string {
  const lines = nameservers.map((address) => `nameserver ${address}`);
  if (search.length > 0) lines.push(`search ${search.join(' ')}`);
  if (options.length > 0) lines.push(`options ${options.join(' ')}`);
  return `${lines.join('\n')}\n`;
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    // A directory is what Docker makes of a file to bind that is missing.
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EISDIR')) return '';
    throw error;
  }
}
