import { randomBytes } from 'node:crypto';
import { accessSync, constants, readFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode, NsError, type OwnedFd, SpecError, UnavailableError, withDescriptorsForChild } from '@ns/libc';
import { PortInUseError } from '../errors.ts';
import { describePort } from '../firewall/firewall.ts';
import type { Protocol } from '../firewall/set-elements.ts';
import { bindSocket } from '../ports/bound-socket.ts';
import { type PortSpec, parsePortSpec } from '../ports/port-spec.ts';
import { describeWanted } from '../ports/publish-ports.ts';
import type { Entrust } from '../remains.ts';

/** Programs that connect a network namespace to the host without a privilege. */
export type UserNetworkProgram = 'pasta' | 'slirp4netns';

/** A port of the host that leads into the namespace. */
export interface ForwardedPort {
  readonly protocol: Protocol;
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly port: number;
}

/** What to connect. */
export interface UserNetworkOptions {
  /** A process in the network namespace, and in the user namespace that owns it. */
  readonly pid: number;
  /** Published ports in Docker's notation. */
  readonly ports?: readonly string[];
  /** Default: the first of {@link installedUserNetworks}. */
  readonly program?: UserNetworkProgram;
  /** Milliseconds until the network has to be there. Default 5000. */
  readonly timeoutMs?: number;
  /**
   * The program ends with the thread that calls, by SIGKILL or otherwise: by itself it does not notice that the namespace has
   * ended. Takes setpriv(1) of util-linux. Default false.
   */
  readonly dieWithParent?: boolean;
  /**
   * The reading end of a pipe: slirp4netns ends when nobody has the other end any more, as a process of the namespace might. pasta
   * has nothing like it, and notices the end of the namespace in newer versions.
   */
  readonly lifeline?: OwnedFd;
  /** Is told of a directory that would stay if this process were killed. */
  readonly entrust?: Entrust;
}

/** A network namespace that is connected, until it is closed or the namespace ends. */
export interface UserNetwork extends AsyncDisposable {
  readonly program: UserNetworkProgram;
  /** Of the program. */
  readonly pid: number;
  readonly ports: readonly ForwardedPort[];
  /** Where the container asks for names; `undefined`: the host's resolvers, as they are. */
  readonly nameserver: string | undefined;
  /** Disconnects. Idempotent. */
  close(): Promise<void>;
}

// Of slirp4netns' own network, 10.0.2.0/24.
const SLIRP_NAMESERVER = '10.0.2.3';

/**
 * The programs that are installed, the better one first: pasta copies the host's addresses and is faster. To root slirp4netns is:
 * the pasta of Debian 12 (2023) gives up too much of what he may do, and cannot enter the namespaces of others.
 */
export function installedUserNetworks(path: string = process.env.PATH ?? ''): UserNetworkProgram[] {
  const programs = ['pasta', 'slirp4netns'] as const;
  const byPreference = isRoot() ? programs.toReversed() : programs;
  return byPreference.filter((program) => isInstalled(program, path));
}

const isRoot = () => process.geteuid!() === 0;

function isInstalled(program: string, path = process.env.PATH ?? ''): boolean {
  const directories = path.split(delimiter).filter((directory) => directory.startsWith('/'));
  return directories.some((directory) => isExecutable(join(directory, program)));
}

/**
 * Connects the network namespace of a process to the host's network as an ordinary user can: through a program that makes
 * sockets on its behalf. The host's own 127.0.0.1 is not reachable from inside.
 *
 * Datagrams are answered to whoever is outside; of the host's own addresses, 127.0.0.1 included, the pasta of Debian 12 (2023) loses
 * the answers.
 *
 * @throws UnavailableError when neither program is installed: the namespace then has loopback only; for ports that
 *   slirp4netns cannot publish: on addresses of IPv6, and of UDP on 127.0.0.0/8
 * @throws PortInUseError a port of the host is taken
 * @throws NsError ERR_NS_USER_NETWORK_FAILED with what the program said
 */
export async function connectUserNetwork(options: UserNetworkOptions): Promise<UserNetwork> {
  const { pid, timeoutMs = 5_000, dieWithParent = false, lifeline } = options;
  if (!Number.isSafeInteger(pid) || pid <= 0) throw new SpecError('pid', 'a process id', pid);
  const program = options.program ?? installedUserNetworks()[0];
  if (program === undefined || !installedUserNetworks().includes(program)) {
    throw new UnavailableError(
      'a network without privileges',
      `${program ?? 'neither pasta nor slirp4netns'} is not installed, so there is loopback only`,
      'Install passt (it has pasta) or slirp4netns',
    );
  }
  const ports = (options.ports ?? []).flatMap((text) => parsePortSpec(text)).map(resolvePort);
  if (program === 'slirp4netns') for (const port of ports) refuseForSlirp(port);
  // For its commands, until it has been given them.
  const needsSocket = program === 'slirp4netns' && ports.length > 0;
  const directory = needsSocket ? join(tmpdir(), `ns-slirp-${randomBytes(8).toString('hex')}`) : undefined;
  const socketPath = directory && join(directory, 'api');
  using _ = directory === undefined ? undefined : options.entrust?.({ directories: [directory] });
  if (directory !== undefined) await mkdir(directory, { mode: 0o700 });
  const { execa } = await import('execa');
  const command = [
    program,
    ...(program === 'pasta' ? pastaArguments(pid, ports) : slirpArguments(pid, socketPath, lifeline)),
  ];
  const mortally = dieWithParent && isInstalled('setpriv') ? ['setpriv', '--pdeathsig', 'KILL'] : [];
  const [file, ...args] = [...mortally, ...command] as [string, ...string[]];
  const child = withDescriptorsForChild(() =>
    execa(file, args, {
      reject: false,
      cwd: '/',
      // Descriptors are not in the types of execa beyond the standard ones; it hands them on.
      stdio: ['ignore', 'ignore', 'pipe', ...((lifeline ? [lifeline.fd] : []) as [])],
      buffer: true,
      // Else neither our exit nor Ctrl-C in our terminal ends it.
      cleanup: dieWithParent,
      detached: !dieWithParent,
    }),
  );
  let ended = false;
  const end = child.then((result) => {
    ended = true;
    return result;
  });
  const close = async (): Promise<void> => {
    child.kill('SIGTERM');
    await end;
  };
  const patience: Patience = { deadline: Date.now() + timeoutMs, hasEnded: () => ended };
  try {
    await until('a route', patience, () => hasDefaultRoute(pid) || undefined);
    if (socketPath !== undefined) for (const port of ports) await addHostForward(socketPath, port, patience);
  } catch (error) {
    await close();
    const { stderr } = await end;
    throw new NsError(
      'ERR_NS_USER_NETWORK_FAILED',
      `${program} did not connect process ${pid}: ${lastLine(String(stderr)) ?? (error as Error).message}`,
      { hint: isRoot() ? hintForRoot : hint, cause: error },
    );
  } finally {
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  }
  child.unref();
  return {
    program,
    // It has made the route, so there is one.
    pid: child.pid!,
    ports,
    nameserver: program === 'pasta' ? undefined : SLIRP_NAMESERVER,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** slirp4netns forwards IPv4 only, and what keeps the host's loopback from the container keeps its answers from there too. */
function refuseForSlirp({ protocol, hostAddress, hostPort }: ForwardedPort): void {
  const why = hostAddress.includes(':')
    ? 'slirp4netns has no ports on addresses of IPv6'
    : protocol === 'udp' && hostAddress.startsWith('127.')
      ? 'slirp4netns answers no datagrams of the host itself'
      : undefined;
  if (why !== undefined)
    throw new UnavailableError(
      `port ${hostPort}/${protocol} of ${hostAddress}`,
      why,
      'Install passt, which has pasta, or publish it on an IPv4 address that others reach',
    );
}

/**
 * A free port, chosen now. Another program may take it before ours does; the program then says so.
 *
 * @throws PortInUseError
 */
function resolvePort(spec: PortSpec): ForwardedPort {
  const { protocol, hostAddress, port, hostPorts } = spec;
  const address = hostAddress ?? '0.0.0.0';
  for (let candidate = hostPorts.from; ; candidate++) {
    try {
      const bound = bindSocket({ protocol, address, port: candidate });
      bound.fd.close();
      return { protocol, hostAddress: address, hostPort: bound.port, port };
    } catch (error) {
      if (candidate < hostPorts.to) continue;
      if (!hasCode(error, 'EADDRINUSE')) throw error;
      throw new PortInUseError(describeWanted(spec), `another program (${(error as Error).message})`);
    }
  }
}

/** pasta(1). `none` for the other direction: a container must not listen on the host's loopback. */
function pastaArguments(pid: number, ports: readonly ForwardedPort[]): string[] {
  const forward = (protocol: string): string[] => {
    const wanted = ports.filter((port) => port.protocol === protocol);
    const flag = protocol === 'tcp' ? '--tcp-ports' : '--udp-ports';
    return wanted.length === 0
      ? [flag, 'none']
      : wanted.flatMap((port) => [
          flag,
          `${port.hostAddress === '0.0.0.0' ? '' : `${port.hostAddress}/`}${port.hostPort}:${port.port}`,
        ]);
  };
  // As root it would become nobody, who may not enter the namespaces of others.
  const user = isRoot() ? ['--runas', '0:0'] : [];
  return [
    '--foreground',
    '--quiet',
    '--config-net',
    '--no-map-gw',
    ...user,
    ...forward('tcp'),
    ...forward('udp'),
    '--tcp-ns',
    'none',
    '--udp-ns',
    'none',
    String(pid),
  ];
}

/** slirp4netns(1). */
function slirpArguments(pid: number, socketPath: string | undefined, lifeline: OwnedFd | undefined): string[] {
  return [
    '--configure',
    '--mtu=65520',
    '--disable-host-loopback',
    `--userns-path=/proc/${pid}/ns/user`,
    ...(socketPath === undefined ? [] : [`--api-socket=${socketPath}`]),
    ...(lifeline ? ['--exit-fd=3'] : []),
    String(pid),
    'tap0',
  ];
}

/** One command of slirp4netns' API socket: JSON each way, one exchange a connection. */
async function addHostForward(socketPath: string, port: ForwardedPort, patience: Patience): Promise<void> {
  const command = {
    execute: 'add_hostfwd',
    arguments: { proto: port.protocol, host_addr: port.hostAddress, host_port: port.hostPort, guest_port: port.port },
  };
  // slirp4netns makes the route first, and its socket a moment later.
  const socket = await until('an API socket', patience, () => connection(socketPath));
  const answer = await new Promise<string>((resolve, reject) => {
    let text = '';
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
    socket.end(JSON.stringify(command));
  });
  const { error } = JSON.parse(answer) as { error?: { desc: string } };
  if (error)
    throw new PortInUseError(
      describePort({ ...port, address: port.hostAddress }),
      `another program (slirp4netns: ${error.desc})`,
    );
}

/** `undefined` while nobody listens. */
function connection(socketPath: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(socketPath, () => resolve(socket.off('error', absent)));
    const absent = (): void => resolve(undefined);
    socket.on('error', absent);
  });
}

interface Patience {
  readonly deadline: number;
  hasEnded(): boolean;
}

async function until<T>(
  what: string,
  patience: Patience,
  look: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  for (; Date.now() < patience.deadline; await sleep(10)) {
    const found = await look();
    if (found !== undefined) return found;
    if (patience.hasEnded()) throw new NsError('ERR_NS_USER_NETWORK_FAILED', 'the program ended', { hint: STARTING });
  }
  throw new NsError('ERR_NS_USER_NETWORK_FAILED', `not in time: ${what}`, { hint: STARTING });
}

const hint = 'Likely its version is too old, or the process has ended; the message is its own';
const hintForRoot = 'Install slirp4netns, which root can use in any version, or take a network of our own, as root can';

const STARTING = 'Run pasta or slirp4netns by hand to see why; an old one may lack an option';

/** The last thing that both programs make in the namespace. */
function hasDefaultRoute(pid: number): boolean {
  const read = (file: string): string => {
    try {
      return readFileSync(`/proc/${pid}/net/${file}`, 'utf8');
    } catch {
      return '';
    }
  };
  // Destination and mask 0; in the table of IPv6 every namespace has one through lo from the start.
  return /^\S+\t00000000\t/m.test(read('route')) || /^0{32} 00 .*(?<!\blo)$/m.test(read('ipv6_route'));
}

function lastLine(text: string): string | undefined {
  return text.trim().split('\n').at(-1) || undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
