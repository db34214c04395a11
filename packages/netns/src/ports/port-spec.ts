import { isIP } from 'node:net';
import { SpecError } from '@ns/libc';
import type { Protocol } from '../firewall/set-elements.ts';

/** A port to publish. */
export interface PortSpec {
  readonly protocol: Protocol;
  /** Address of the host; `0.0.0.0` and `::`, every one of that version; left out, every address of both versions. */
  readonly hostAddress?: string;
  /** Ports of the host that will do, tried in order; `0` asks for any free one. */
  readonly hostPorts: { readonly from: number; readonly to: number };
  /** Port of the container. */
  readonly port: number;
}

const SHAPE = 'a port as Docker writes it: [address:][hostPort[-hostPort]:]port[-port][/tcp|udp]';

/**
 * Reads a published port in Docker's notation: `80`, `8080:80`, `127.0.0.1:8080:80/udp`, `[::1]:8080:80`, `8000-8010:9000-9010`,
 * `127.0.0.1::80` (any free port), `8000-8010:80` (the first free one of these). Without an address it is published on both
 * IPv4 and IPv6; `0.0.0.0:8080:80` on IPv4 alone, `[::]:8080:80` on IPv6 alone.
 *
 * @returns one entry for each port of the container
 * @throws SpecError
 */
export function parsePortSpec(text: string, field = 'ports'): PortSpec[] {
  const fail = (): never => {
    throw new SpecError(field, SHAPE, text);
  };
  const match =
    /^(?:(?:\[(?<six>[^\]]+)\]|(?<four>[^:[\]]+)):(?=[^/]*:))?(?:(?<host>\d+(?:-\d+)?)?:)?(?<inner>\d+(?:-\d+)?)(?:\/(?<protocol>tcp|udp))?$/.exec(
      text,
    );
  const { six, four, host, inner, protocol = 'tcp' } = match?.groups ?? fail();
  const hostAddress = six ?? four;
  if (hostAddress !== undefined && isIP(hostAddress) !== (six === undefined ? 4 : 6)) fail();
  const ports = range(inner!) ?? fail();
  const hostPorts = host === undefined ? { from: 0, to: 0 } : (range(host) ?? fail());
  if (ports.from === 0) fail();
  const count = ports.to - ports.from + 1;
  const hostCount = hostPorts.to - hostPorts.from + 1;
  // Several ports need as many of the host; one may choose among them.
  if (count > 1 && hostPorts.from !== 0 && hostCount !== count) {
    throw new SpecError(field, 'as many ports of the host as of the container', text);
  }
  return Array.from({ length: count }, (_, index) => ({
    protocol: protocol as Protocol,
    ...(hostAddress === undefined ? {} : { hostAddress }),
    hostPorts:
      count === 1 || hostPorts.from === 0 ? hostPorts : { from: hostPorts.from + index, to: hostPorts.from + index },
    port: ports.from + index,
  }));
}

function range(text: string): { from: number; to: number } | undefined {
  const [from = 0, to = from] = text.split('-').map(Number);
  return from <= to && to <= 65535 ? { from, to } : undefined;
}
