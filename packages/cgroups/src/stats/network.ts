import { readFileSync } from 'node:fs';

/** Traffic of one interface since it was made. */
export interface NetworkStats {
  readonly receivedBytes: number;
  readonly receivedPackets: number;
  readonly receiveErrors: number;
  readonly receiveDrops: number;
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly sendErrors: number;
  readonly sendDrops: number;
}

/** Interfaces of the network namespace a process is in; `undefined` when it ended. */
export function networkStats(pid: number): Readonly<Record<string, NetworkStats>> | undefined {
  try {
    return parseNetDev(readFileSync(`/proc/${pid}/net/dev`, 'utf8'));
  } catch {
    return undefined;
  }
}

/** The text of `/proc/PID/net/dev`. */
export function parseNetDev(text: string): Readonly<Record<string, NetworkStats>> {
  const interfaces: Record<string, NetworkStats> = {};
  for (const line of text.split('\n')) {
    const match = /^\s*([^\s:]+):\s*(.*)$/.exec(line);
    if (!match) continue;
    const [
      receivedBytes = 0,
      receivedPackets = 0,
      receiveErrors = 0,
      receiveDrops = 0,
      ,
      ,
      ,
      ,
      sentBytes = 0,
      sentPackets = 0,
      sendErrors = 0,
      sendDrops = 0,
    ] = match[2]!.split(/\s+/).map(Number);
    interfaces[match[1]!] = {
      receivedBytes,
      receivedPackets,
      receiveErrors,
      receiveDrops,
      sentBytes,
      sentPackets,
      sendErrors,
      sendDrops,
    };
  }
  return interfaces;
}
