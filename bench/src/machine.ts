import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { peerVersions } from './contenders.ts';

/** On what the figures were measured: without it they mean nothing. */
export interface Machine {
  readonly kernel: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryGiB: number;
  readonly distribution: string;
  readonly node: string;
  /** Load average over a minute before the first benchmark: above about 0.3 a CPU, figures are those of a busy machine. */
  readonly loadBefore: number;
  readonly peers: Readonly<Record<string, string>>;
}

export function describeMachine(): Machine {
  return {
    kernel: release(),
    cpu: cpus()[0]?.model ?? process.arch,
    cpus: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    distribution: /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux',
    node: process.version,
    loadBefore: loadavg()[0]!,
    peers: peerVersions(),
  };
}
