import { readFileSync } from 'node:fs';
import type { PlacedFile } from './plan/root-steps.ts';

/**
 * The host's /etc/resolv.conf without the name servers that are on its own loopback interface: inside another network namespace
 * nobody answers there (systemd-resolved is 127.0.0.53). As Docker gives it to a container without a network.
 */
export function withoutLoopback(resolvConf: string): string {
  const isLoopback = (line: string) => /^\s*nameserver\s+(127\.|::1\s*$|0:0:0:0:0:0:0:1\s*$|::ffff:127\.)/i.test(line);
  return resolvConf
    .split('\n')
    .filter((line) => !isLoopback(line))
    .join('\n');
}

/** The file for a container that nothing else is known for. */
export function hostResolvers(path = '/etc/resolv.conf'): PlacedFile[] {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  return [{ path: '/etc/resolv.conf', content: withoutLoopback(content) }];
}
