import { readdir } from 'node:fs/promises';
import { hasCode, type OwnedFd, statFd } from '@ns/libc';
import { insideNetworkNamespace, insideNewNetworkNamespace, NetlinkSocket, openOwnNetworkNamespace } from '@ns/netlink';
import { setUpIn } from './link/change.ts';
import { type NetnsReference, openReference } from './namespace-reference.ts';
import { silenceNewLinks } from './network/quiet-link.ts';
import { bindNamespace, PIN_DIRECTORY, pinPath, preparePinDirectory, removePin } from './pin.ts';

/** How to make a {@link NetNamespace}. */
export interface NetNamespaceOptions {
  /** Pin it as /run/netns/<name>, where `ip netns exec` finds it. Without a name it lives as long as something holds it open. */
  readonly name?: string;
  /** Leave `lo` down, as the kernel makes it. Default: it is set up. */
  readonly loopback?: 'up' | 'down';
  /**
   * `'silent'`: links that come into being in it have IPv6 switched off until somebody switches it on, and believe no router
   * (`net.ipv6.conf.default`). That is how {@link BridgeNetwork.connect} wants them, which then has nothing to set.
   * Default: `'kernel'`.
   */
  readonly newLinks?: 'silent' | 'kernel';
}

/**
 * A network namespace, held by an open descriptor (nsfs).
 *
 * The functions `link`, `address`, `route`, `rule` and `neighbour` take one as `netns`. Making one needs CAP_SYS_ADMIN,
 * changing it CAP_NET_ADMIN in its user namespace.
 *
 * @example
 * await using netns = await NetNamespace.create();
 * await link.createVeth({ name: 'veth0', peer: { name: 'eth0', netns } });
 * await address.add('eth0', '10.88.0.2/24', { netns });
 */
export class NetNamespace implements Disposable, AsyncDisposable {
  readonly #fd: OwnedFd;
  #socket: NetlinkSocket | undefined;
  #path: string | undefined;
  #ownsPin = false;
  #newLinksAreSilent = false;

  private constructor(fd: OwnedFd) {
    this.#fd = fd;
  }

  /**
   * Makes a network namespace: unshare(CLONE_NEWNET) on the calling thread, which is back where it was before anything
   * else runs.
   *
   * @param options - or just the name of a pin
   * @throws SyscallError EPERM without CAP_SYS_ADMIN, ENOSPC at the limit user.max_net_namespaces, EEXIST when the name is taken
   * @throws UnavailableError `newLinks` where /proc/sys is read-only
   */
  static async create(options: NetNamespaceOptions | string = {}): Promise<NetNamespace> {
    const {
      name,
      loopback = 'up',
      newLinks = 'kernel',
    }: NetNamespaceOptions = typeof options === 'string' ? { name: options } : options;
    // A bad name is found before anything is made.
    if (name !== undefined) pinPath(name);
    // The socket is made on the same visit: it saves a second one for the first call.
    const { fd, socket } = insideNewNetworkNamespace(() => {
      if (newLinks === 'silent') silenceNewLinks();
      return { fd: openOwnNetworkNamespace(), socket: NetlinkSocket.open() };
    });
    const netns = new NetNamespace(fd);
    netns.#socket = socket;
    netns.#newLinksAreSilent = newLinks === 'silent';
    try {
      if (loopback === 'up') setUpIn(socket, 'lo');
      if (name !== undefined) await netns.pin(name);
    } catch (error) {
      netns.close();
      throw error;
    }
    return netns;
  }

  /**
   * Opens an existing namespace: of a process, at a path, by the name of its pin, or from a descriptor (which is duplicated).
   *
   * @throws SyscallError ENOENT when there is none, EACCES or EPERM for a process of somebody else
   */
  static async open(reference: NetnsReference): Promise<NetNamespace> {
    const netns = new NetNamespace(openReference(reference, 'reference'));
    if ('fd' in reference) return netns;
    // What lies in /proc is no pin, so delete() leaves it alone.
    if ('path' in reference && !reference.path.startsWith('/proc/')) netns.#path = reference.path;
    if ('name' in reference) netns.#path = pinPath(reference.name);
    return netns;
  }

  /** The calling thread's own. */
  static async own(): Promise<NetNamespace> {
    return new NetNamespace(openOwnNetworkNamespace());
  }

  /** Names of the pins under /run/netns, as `ip netns list` shows them. */
  static async list(): Promise<string[]> {
    try {
      return (await readdir(PIN_DIRECTORY)).sort();
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    }
  }

  /** Descriptor of the namespace, for other calls; it stays owned by this object. */
  get fd(): number {
    return this.#fd.fd;
  }

  /** Inode number in nsfs: equal for equal namespaces, what `readlink /proc/PID/ns/net` shows. */
  get id(): number {
    return Number(statFd(this.fd).ino);
  }

  /** Where it is pinned, as far as this object knows. */
  get path(): string | undefined {
    return this.#path;
  }

  /** It was made with `newLinks: 'silent'`. */
  get newLinksAreSilent(): boolean {
    return this.#newLinksAreSilent;
  }

  /** An rtnetlink socket inside the namespace, opened on first use. */
  get socket(): NetlinkSocket {
    this.#socket ??= NetlinkSocket.open({ namespaceFd: this.fd });
    return this.#socket;
  }

  /**
   * Pins the namespace: a bind mount that keeps it alive without a process. {@link NetNamespace.delete} removes it.
   *
   * @param nameOrPath - a name means /run/netns/<name>; a path begins with `/`
   * @throws SyscallError EEXIST when it is taken, EPERM without CAP_SYS_ADMIN
   */
  async pin(nameOrPath: string): Promise<void> {
    const isPath = nameOrPath.startsWith('/');
    const path = isPath ? nameOrPath : pinPath(nameOrPath);
    if (!isPath) preparePinDirectory();
    bindNamespace(this.fd, path);
    this.#path = path;
    this.#ownsPin = true;
  }

  /**
   * Runs a function with the calling thread inside the namespace, for what only the caller's namespace decides: sockets, /proc/sys/net.
   * It must be synchronous; see {@link insideNetworkNamespace}.
   */
  run<Result>(body: () => Result): Result {
    return insideNetworkNamespace(this.fd, body);
  }

  /** Removes the pin, if there is one, and closes. The kernel ends the namespace with its last holder. Idempotent. */
  async delete(): Promise<void> {
    if (this.#path !== undefined) removePin(this.#path);
    this.#path = undefined;
    this.#ownsPin = false;
    this.close();
  }

  /** Closes descriptor and socket; a pin stays. Idempotent. */
  close(): void {
    this.#socket?.close();
    this.#fd.close();
  }

  /** {@link NetNamespace.close}, and removes a pin this object made. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ownsPin) await this.delete();
    else this.close();
  }

  [Symbol.dispose](): void {
    if (this.#ownsPin && this.#path !== undefined) removePin(this.#path);
    this.close();
  }
}
