import { findState } from '../container-state.ts';
import type { PlacedFile } from '../plan/root-steps.ts';
import { readInRoot } from '../read-in-root.ts';
import type { ContainerSpec } from '../types.ts';
import { hostEntries } from './network-files.ts';

/**
 * Files of a container on the network of the host, or of another container, that is to know more than those: their own
 * /etc/hosts with its `extraHosts` at the end, their /etc/resolv.conf with its `dns` in the place of their name servers. Where
 * the network is only a path, or the other has no such file, they are those of the container's root.
 *
 * @param layers - directories that make up the root, topmost first
 */
export function filesOnNetworkOfOthers(spec: ContainerSpec, layers: readonly string[]): PlacedFile[] {
  const { extraHosts, dns } = spec;
  const linesOf = (path: string) => {
    const text = readInRoot([...rootsOfOthers(spec), ...layers], path) ?? '';
    // Whatever a program has written there: nothing that no text has.
    return text.replaceAll('\0', '').replace(/\n$/, '').split('\n');
  };
  return [
    ...(extraHosts
      ? [
          file('/etc/hosts', [
            ...linesOf('/etc/hosts'),
            ...hostEntries(extraHosts).map(([name, address]) => `${address}\t${name}`),
          ]),
        ]
      : []),
    ...(dns
      ? [
          file('/etc/resolv.conf', [
            ...linesOf('/etc/resolv.conf').filter((line) => !/^\s*nameserver\b/.test(line)),
            ...dns.map((address) => `nameserver ${address}`),
          ]),
        ]
      : []),
  ];
}

/** Of whom the network is, as far as that is said. */
function rootsOfOthers({ network, namespaces }: ContainerSpec): string[] {
  const net = namespaces?.net ?? network;
  if (net === 'host') return ['/'];
  if (typeof net !== 'object' || !('container' in net)) return [];
  const { init } = findState(typeof net.container === 'string' ? net.container : net.container.id);
  return init ? [`/proc/${init.pid}/root`] : [];
}

function file(path: string, lines: readonly string[]): PlacedFile {
  return { path, content: lines.map((line) => `${line}\n`).join('') };
}
