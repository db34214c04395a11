import { hash } from 'node:crypto';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { inOwnTurns, O, type OwnedFd, open, tryLockByte } from '@ns/libc';
import type { EgressOptions } from '../egress/egress-rule.ts';
import { withDirectoryLock } from '../file-lock.ts';
import type { PublishedPort } from '../firewall/firewall.ts';
import type { HostPort } from '../ports/publish-ports.ts';
import {
  checkStateName,
  draftOf,
  readJson,
  readJsonSync,
  removeOldDrafts,
  removeStateDirectory,
  replaceJsonSync,
  stateDirectory,
  writeJsonSync,
} from '../state-directory.ts';

/** What is kept about a network. */
export interface NetworkRecord {
  readonly name: string;
  readonly bridge: string;
  readonly subnets: readonly AddressPlan[];
  readonly internal: boolean;
  readonly icc: boolean;
  readonly masquerade: boolean;
  readonly mtu: number;
  readonly egress: EgressOptions | undefined;
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly labels: Readonly<Record<string, string>>;
  /** What a process is about to do with it, or was when it died. Left out, the network is there. */
  readonly stage?: 'making' | 'removing';
}

/** How the addresses of one subnet are handed out. */
export interface AddressPlan {
  readonly subnet: string;
  readonly gateway?: string | undefined;
  readonly range?: string | undefined;
  readonly auxiliaryAddresses?: Readonly<Record<string, string>> | undefined;
}

/** One end of a network: a container's link. */
export interface Endpoint {
  /** Whose it is: a container's id. */
  readonly owner: string;
  /** Name of the link inside. */
  readonly link: string;
  /** Name of the veth's end on the host. */
  readonly hostLink: string;
  readonly mac: string;
  readonly address: string | undefined;
  readonly address6: string | undefined;
  /** By which others find it. */
  readonly names: readonly string[];
  /** Those of them that stay when it is renamed. */
  readonly aliases?: readonly string[];
  readonly ports: readonly PublishedPort[];
  /** What it may connect to, where that is its own. */
  readonly egress?: EgressOptions | undefined;
}

const NETWORK_FILE = 'network.json';

/** The records of networks below a state root. */
export class NetworkState {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async names(): Promise<string[]> {
    const entries = await readdir(stateDirectory(this.#root, 'networks'), { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
      .sort();
  }

  /**
   * Runs `body` while nobody else makes, opens or removes the network.
   *
   * @throws NsError ERR_NS_LOCK_TIMEOUT
   */
  exclusively<Result>(name: string, body: () => Promise<Result>, timeoutMs?: number): Promise<Result> {
    return withDirectoryLock(join(this.#root, 'networks', checkStateName(name)), body, timeoutMs);
  }

  /**
   * Changes the record of an endpoint, one after the other, whoever changes it.
   *
   * @returns what it is now; undefined when it has left, or does so meanwhile
   */
  changeEndpoint(name: string, owner: string, change: (now: Endpoint) => Endpoint): Promise<Endpoint | undefined> {
    return this.exclusively(name, async () => {
      // The lock may have made its directory again.
      if (!(await this.read(name))) this.remove(name);
      const now = this.endpoint(name, owner);
      if (!now) return undefined;
      const changed = change(now);
      return replaceJsonSync(this.#endpointPath(name, owner), changed) ? changed : undefined;
    });
  }

  /** Who has it serves the names of a network; `undefined` while another does. The kernel gives it back when its holder dies. */
  lockNames(name: string): OwnedFd | undefined {
    const path = join(stateDirectory(this.#root, 'name-servers'), 'lock');
    const file = open(path, O.RDWR | O.CREAT | O.NOFOLLOW, { mode: 0o600 });
    // A byte for each name: one file for all, of which nothing has to be removed.
    const byte = BigInt(`0x${hash('sha256', checkStateName(name)).slice(0, 15)}`);
    if (tryLockByte(file.fd, byte)) return file;
    file.close();
    return undefined;
  }

  async read(name: string): Promise<NetworkRecord | undefined> {
    return (await readJson(join(this.#root, 'networks', checkStateName(name), NETWORK_FILE))) as
      | NetworkRecord
      | undefined;
  }

  async write(record: NetworkRecord): Promise<void> {
    writeJsonSync(join(this.#directory(record.name), NETWORK_FILE), record);
  }

  async endpoints(name: string): Promise<Endpoint[]> {
    const directory = this.#directory(name);
    const files = (await readdir(directory)).filter(isEndpointFile);
    const found = await inOwnTurns('reading endpoints', files, (file) => readJsonSync(join(directory, file)));
    return found.filter((endpoint) => endpoint !== undefined) as Endpoint[];
  }

  /* Synchronous: on the tmpfs below /run a file takes microseconds, and a turn over the thread pool ten times as long. */

  endpoint(name: string, owner: string): Endpoint | undefined {
    return readJsonSync(this.#endpointPath(name, owner)) as Endpoint | undefined;
  }

  /**
   * The endpoint, of whatever network, that was written down with a port of the host. One that a crash left may have it no longer.
   * Reads all of them: for who failed to get it.
   */
  holderOf({ protocol, hostAddress, hostPort }: HostPort): Endpoint | undefined {
    const networks = join(this.#root, 'networks');
    const files = readdirSync(networks, { recursive: true, encoding: 'utf8' }).filter((file) => isEndpointFile(file));
    const holds = (port: PublishedPort) =>
      port.protocol === protocol && port.hostPort === hostPort && meet(port.hostAddress, hostAddress);
    return files
      .map((file) => readJsonSync(join(networks, file)) as Endpoint | undefined)
      .find((endpoint) => endpoint?.ports.some(holds));
  }

  hasEndpoint(name: string, owner: string): boolean {
    return existsSync(this.#endpointPath(name, owner));
  }

  writeEndpoint(name: string, endpoint: Endpoint): void {
    writeJsonSync(this.#endpointPath(name, endpoint.owner), endpoint);
  }

  /** The record of an endpoint, and its draft. */
  endpointFiles(name: string, owner: string): string[] {
    const path = this.#endpointPath(name, owner);
    return [draftOf(path), path];
  }

  removeEndpoint(name: string, owner: string): void {
    rmSync(this.#endpointPath(name, owner), { force: true });
  }

  /** Tells whether records of a network may have changed: writing one takes a rename, which touches the directory. */
  changedAtMs(name: string): number {
    return statSync(join(this.#root, 'networks', checkStateName(name)), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  removeDrafts(name: string): void {
    removeOldDrafts(this.#directory(name));
  }

  remove(name: string): void {
    removeStateDirectory(this.#root, 'networks', name);
  }

  #endpointPath(name: string, owner: string): string {
    return join(this.#root, 'networks', checkStateName(name), endpointFile(owner));
  }

  #directory(name: string): string {
    return stateDirectory(this.#root, 'networks', name);
  }
}

function endpointFile(owner: string): string {
  return `${digest(owner)}.json`;
}

function isEndpointFile(path: string): boolean {
  return path.endsWith('.json') && basename(path) !== NETWORK_FILE;
}

/** Does who has a port on one of these addresses keep it from the other? */
function meet(one = '::', other = '::'): boolean {
  return one === other || isAny(one) || isAny(other);
}

/** A socket on `::` may be of IPv4, too; which one is in the way the kernel has said. */
function isAny(address: string): boolean {
  return address === '::' || address === '0.0.0.0';
}

/** Hexadecimal digits that stand for a text of any length. */
export function digest(...parts: readonly string[]): string {
  return hash('sha256', parts.join('\0'), 'hex').slice(0, 24);
}
