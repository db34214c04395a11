import { accessSync, constants } from 'node:fs';
import { entrust, type Launched } from '@ns/launch';
import { type OwnedFd, pipe, SpecError, UnavailableError } from '@ns/libc';
import type { ForwardedPort, UserNetwork } from '@ns/netns';
import { isDetachable } from '../detachment.ts';
import type { PlacedFile } from '../plan/root-steps.ts';
import type { ContainerSpec } from '../types.ts';
import { sharesIds } from '../user-namespace.ts';
import { userNetworks } from './live-networks.ts';
import { networkFiles } from './network-files.ts';

// slirp4netns(1): its own, which asks the host's resolvers.
const slirpNameserver = '10.0.2.3';

/**
 * The host's network through pasta or slirp4netns, which make sockets on behalf of the container: for ordinary users. They
 * are connected while the container waits to begin.
 */
export class UserContainerNetwork implements AsyncDisposable {
  /** The namespace is the container's own. */
  readonly fd = undefined;
  readonly files: readonly PlacedFile[];
  readonly #id: string;
  readonly #wantedPorts: readonly string[];
  readonly #dieWithParent: boolean;
  readonly #lifeline = pipe();
  #network: UserNetwork | undefined;

  private constructor(id: string, spec: ContainerSpec, files: readonly PlacedFile[]) {
    this.#id = id;
    this.#wantedPorts = spec.ports ?? [];
    this.#dieWithParent = !isDetachable(spec);
    this.files = files;
  }

  /**
   * Looks at what the machine has.
   *
   * @throws SpecError it shares the user namespace of others
   * @throws UnavailableError the device that both programs need is closed to this user
   */
  static async prepare(id: string, spec: ContainerSpec): Promise<UserContainerNetwork> {
    const { hostResolvers, installedUserNetworks } = await import('@ns/netns');
    requireOwnUsers(spec);
    requireDevice();
    const { extraHosts, dns, hostname = id.slice(0, 12) } = spec;
    const usesSlirp = installedUserNetworks()[0] === 'slirp4netns';
    const files = networkFiles({
      names: [hostname],
      addresses: [],
      // What listens on the host's loopback is not reached from inside.
      nameservers: usesSlirp ? [slirpNameserver] : (await hostResolvers()).filter((one) => !/^(127\.|::1$)/.test(one)),
      ...(extraHosts && { extraHosts }),
      ...(dns && { dns }),
    });
    return new UserContainerNetwork(id, spec, files);
  }

  /** For the monitor: with it the program that connects ends, whoever lives by then. */
  get lifeline(): OwnedFd {
    return this.#lifeline.write;
  }

  get ports(): readonly ForwardedPort[] {
    return this.#network?.ports ?? [];
  }

  /** Pid of the program that connects it. */
  get pid(): number | undefined {
    return this.#network?.pid;
  }

  /**
   * Connects a container that waits to begin.
   *
   * @throws UnavailableError neither program is installed
   * @throws NsError `ERR_NS_USER_NETWORK_FAILED`, `ERR_NS_PORT_IN_USE`
   */
  async connect({ pid }: Pick<Launched, 'pid'>): Promise<void> {
    const { connectUserNetwork } = await import('@ns/netns');
    const { read: lifeline, write } = this.#lifeline;
    // The monitor has its own by now.
    write.close();
    const how = { ports: this.#wantedPorts, dieWithParent: this.#dieWithParent, lifeline, entrust };
    this.#network = await connectUserNetwork({ pid: pid!, ...how });
    lifeline.close();
    userNetworks.set(this.#id, this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    userNetworks.delete(this.#id);
    for (const end of Object.values(this.#lifeline)) end.close();
    await this.#network?.close();
  }
}

/** Where others are in the user namespace, its first process refuses ptrace, and with it shows its namespaces to nobody but root. */
function requireOwnUsers(spec: ContainerSpec): void {
  if (process.geteuid!() === 0 || !sharesIds(spec)) return;
  throw new SpecError(
    'namespaces.user',
    'its own, as it is to have a network of its own that an ordinary user connects',
    spec.namespaces!.user,
    'Share the network of the other, too (namespaces.net), and give the ports to that one',
  );
}

function requireDevice(): void {
  const device = '/dev/net/tun';
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
  } catch {
    throw new UnavailableError(
      'a network without privileges',
      `pasta and slirp4netns need ${device}, which this user may not open`,
      `chmod 0666 ${device}, as most distributions have it; load the module tun if it is not there`,
    );
  }
}
