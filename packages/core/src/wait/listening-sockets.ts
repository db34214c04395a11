import { readFileSync } from 'node:fs';

/** A TCP socket that listens. */
export interface ListeningSocket {
  /** `0.0.0.0` and `::` are every address. */
  readonly address: string;
  readonly port: number;
}

const TCP_LISTEN = '0A'; // <net/tcp_states.h>

/**
 * TCP sockets that listen in the network namespace of a process: /proc/PID/net/tcp and tcp6, which need no privileges.
 * There is nothing to wait on: the kernel tells nobody of a new listener.
 */
export function listeningSockets(pid: number): ListeningSocket[] {
  return ['tcp', 'tcp6'].flatMap((file) => parseListeners(readTable(`/proc/${pid}/net/${file}`)));
}

/** Parses the text of /proc/net/tcp or tcp6: proc_pid_net(5). */
export function parseListeners(table: string): ListeningSocket[] {
  return table.split('\n').flatMap((line) => {
    const [, local, , state] = line.trim().split(/\s+/);
    if (state !== TCP_LISTEN || local === undefined) return [];
    const [address = '', port = ''] = local.split(':');
    return [{ address: decodeAddress(address), port: Number.parseInt(port, 16) }];
  });
}

/** Words of 32 bits in the byte order of the machine, which is little-endian on all we run on. */
function decodeAddress(hex: string): string {
  const bytes = Buffer.from(hex, 'hex').swap32();
  if (bytes.length === 4) return [...bytes].join('.');
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16));
  return groups.every((group) => group === '0') ? '::' : groups.join(':');
}

function readTable(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // The process has ended, which others find out; or a kernel without IPv6.
    return '';
  }
}
