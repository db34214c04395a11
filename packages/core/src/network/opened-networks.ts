import { hasCode, NsError, stateRoot } from '@ns/libc';
import type { EgressOptions, EgressPolicy, Endpoint, Entrust, RefusedConnection } from '@ns/netns';
import type { NetworkBackend, NetworkDriver } from './network-driver.ts';
import { asGiven, type NetworkOptions } from './network-options.ts';
import { claimOptions, markBusy, optionFiles, readOptions, removeOptions, replaceOptions } from './network-store.ts';
import { isOwnerGone, ownerLabel } from './owner-mark.ts';
import { keepNamespaceReady, releaseReadyNamespace } from './ready-namespaces.ts';

/**
 * A network as this process has it open: its name server, published ports and the log of refused connections are here,
 * once, for all who hold it.
 */
export class OpenedNetwork {
  readonly options: NetworkOptions;
  readonly backend: NetworkBackend;
  readonly #driver: NetworkDriver;
  readonly #entrusted: Disposable | undefined;
  readonly #listeners = new Map<string, (refused: RefusedConnection) => void>();
  readonly #changed = new Set<() => void>();
  #stopListening: (() => void) | undefined;
  #changing: Promise<unknown> = Promise.resolve();

  private constructor(options: NetworkOptions, driver: NetworkDriver, backend: NetworkBackend, entrusted?: Disposable) {
    this.options = options;
    this.backend = backend;
    this.#driver = driver;
    this.#entrusted = entrusted;
  }

  /** @param entrusted - its options: disposed of when they are removed */
  static async create(options: NetworkOptions, entrust?: Entrust, entrusted?: Disposable): Promise<OpenedNetwork> {
    const { driver } = await drivers[options.driver ?? 'bridge']();
    const backend = await driver.create(options, entrust).catch((error) => {
      throw asGiven(error);
    });
    return new OpenedNetwork(options, driver, backend, entrusted);
  }

  static async open(options: NetworkOptions): Promise<OpenedNetwork> {
    const { driver } = await drivers[options.driver ?? 'bridge']();
    return new OpenedNetwork(options, driver, await driver.open(options));
  }

  get name(): string {
    return this.options.name;
  }

  async connect(options: Parameters<NetworkBackend['connect']>[0]): Promise<Endpoint> {
    const endpoint = await this.backend.connect(options);
    this.#tellChange();
    return endpoint;
  }

  async rename(owner: string, names: () => readonly string[]): Promise<Endpoint | undefined> {
    const endpoint = await this.backend.rename(owner, names);
    this.#tellChange();
    return endpoint;
  }

  async disconnect(owner: string): Promise<void> {
    await this.backend.disconnect(owner);
    this.#tellChange();
  }

  /** Calls back when somebody came or went, in this process; returns how to stop it. */
  onChange(listener: () => void): () => void {
    this.#changed.add(listener);
    return () => this.#changed.delete(listener);
  }

  /**
   * Calls back for connections of a container that were refused: by the network's policy, which knows it by its
   * addresses, or by its own. Returns how to stop it.
   */
  onRefused(owner: string, addresses: readonly string[], listener: (refused: RefusedConnection) => void): () => void {
    const stopOwn = this.#listen(this.backend.egressOf(owner), listener);
    for (const address of addresses) this.#listeners.set(address, listener);
    this.#stopListening ??= this.#listen(this.backend.egress, (refused) =>
      this.#listeners.get(refused.source)?.(refused),
    );
    return () => {
      stopOwn();
      for (const address of addresses) this.#listeners.delete(address);
      if (this.#listeners.size > 0) return;
      this.#stopListening?.();
      this.#stopListening = undefined;
    };
  }

  /** Changes its policy. Of several changes the last one asked for is the one that stays. */
  changeEgress(egress: EgressOptions): Promise<void> {
    const change = this.#changing.then(async () => {
      existing(this.name);
      await this.backend.changeEgress(egress);
      replaceOptions({ ...this.options, egress });
    });
    this.#changing = change.catch(() => {});
    return change;
  }

  async close(): Promise<void> {
    this.#stopListening?.();
    await this.backend.close();
  }

  /** Removes the network; whoever is on it is disconnected. Idempotent. */
  async remove(): Promise<void> {
    this.#stopListening?.();
    if (readOptions(this.name)) markBusy(this.options);
    await this.backend.remove();
    await this.#driver.removed?.(this.options);
    removeOptions(this.name);
    this.#entrusted?.[Symbol.dispose]();
  }

  #listen(policy: EgressPolicy | undefined, listener: (refused: RefusedConnection) => void): () => void {
    if (!policy) return () => {};
    const stop = new AbortController();
    const { signal } = stop;
    const read = async () => {
      // Containers keep the event loop alive, those that run.
      for await (const refused of policy.refused({ signal, persistent: false })) listener(refused);
    };
    read().catch((error: unknown) => {
      // Another process listens to this policy: it has the events.
      if (signal.aborted || hasCode(error, 'EBUSY')) return;
      process.emitWarning(`refused connections of network ${this.name} are no longer told of: ${String(error)}`, {
        code: 'NS_EGRESS_EVENTS',
      });
    });
    return () => stop.abort();
  }

  #tellChange(): void {
    for (const listener of this.#changed) listener();
  }
}

/** The place that a container has in a network, read without opening that; undefined when it has none. */
export async function placeIn(name: string, owner: string): Promise<Endpoint | undefined> {
  const options = readOptions(name);
  if (!options) return undefined;
  const { driver } = await drivers[options.driver ?? 'bridge']();
  return driver.endpoint(options, owner);
}

/** Keeps a network open until it is closed. */
export interface NetworkHold {
  readonly network: OpenedNetwork;
  /** Idempotent. */
  release(): Promise<void>;
}

const opened = new Map<string, { readonly network: Promise<OpenedNetwork>; holders: number }>();

/**
 * Opens a network, or takes part in what is open.
 *
 * @throws NsError `ERR_NS_NETWORK_NOT_FOUND`
 */
export function holdNetwork(name: string): Promise<NetworkHold> {
  return hold(name, async () => OpenedNetwork.open(existing(name)));
}

/**
 * The options of a network that there is: removed, it may be open here still.
 *
 * @throws NsError `ERR_NS_NETWORK_NOT_FOUND`
 */
export function existing(name: string): NetworkOptions {
  const options = readOptions(name);
  const owner = options?.labels?.[ownerLabel];
  // That of a container which died with its maker is being removed, or waits for it: opened, it would be made whole again.
  if (!options || (owner !== undefined && isOwnerGone(owner)))
    throw new NsError('ERR_NS_NETWORK_NOT_FOUND', `there is no network '${name}'`, {
      hint: `Make it: Network.create({ name: '${name}' }). Network.list() shows those there are`,
    });
  return options;
}

/**
 * Makes a network and opens it.
 *
 * @param entrust - it is to die with this process, and has a name that nobody else uses
 * @throws NsError `ERR_NS_NETWORK_EXISTS`
 */
export async function makeNetwork(options: NetworkOptions, entrust?: Entrust): Promise<NetworkHold> {
  const { name } = options;
  const entrusted = entrust?.({ files: optionFiles(name) });
  try {
    return await claimAndMake(options, entrust, entrusted);
  } catch (error) {
    entrusted?.[Symbol.dispose]();
    throw error;
  }
}

async function claimAndMake(
  options: NetworkOptions,
  ...entrusting: [Entrust | undefined, Disposable | undefined]
): Promise<NetworkHold> {
  const { name } = options;
  const previous = claimOptions(options);
  try {
    if (previous) await clearAway(previous);
    const held = await hold(name, () => OpenedNetwork.create(options, ...entrusting));
    replaceOptions(options);
    return held;
  } catch (error) {
    // Its maker died with all of it made.
    if (previous && hasCode(error, 'ERR_NS_NETWORK_EXISTS')) replaceOptions(previous);
    else removeOptions(name);
    throw error;
  }
}

/** What a process has left of a network that died while it made or removed it. */
async function clearAway(previous: NetworkOptions): Promise<void> {
  const { BridgeNetwork } = await import('@ns/netns');
  const root = { stateRoot: stateRoot() };
  await BridgeNetwork.pruneUnfinished(root);
  if (!(await BridgeNetwork.list(root)).includes(previous.name)) await afterRemoval(previous);
}

/** Removes networks whose process died while it made or removed them. */
export async function pruneUnfinishedNetworks(): Promise<string[]> {
  const { BridgeNetwork } = await import('@ns/netns');
  const names = await BridgeNetwork.pruneUnfinished({ stateRoot: stateRoot() });
  for (const name of names) await forgetNetwork(name);
  return names;
}

/** Removes what is left of the network of a container that is gone. */
export async function removeOwnNetwork(name: string): Promise<void> {
  const { BridgeNetwork } = await import('@ns/netns');
  await BridgeNetwork.tearDown(name, { stateRoot: stateRoot() });
  await forgetNetwork(name);
}

/** What is left of a network that is no longer there. */
export async function forgetNetwork(name: string): Promise<void> {
  const options = readOptions(name);
  if (options) await afterRemoval(options);
  removeOptions(name);
}

async function afterRemoval(options: NetworkOptions): Promise<void> {
  const { driver } = await drivers[options.driver ?? 'bridge']();
  await driver.removed?.(options);
}

async function hold(name: string, open: () => Promise<OpenedNetwork>): Promise<NetworkHold> {
  const key = `${stateRoot()}\0${name}`;
  const entry = opened.get(key) ?? { network: open(), holders: 0 };
  opened.set(key, entry);
  entry.holders++;
  let held = true;
  const release = async () => {
    if (!held) return;
    held = false;
    releaseReadyNamespace();
    if (--entry.holders > 0) return;
    opened.delete(key);
    await (await entry.network).close();
  };
  try {
    const network = await entry.network;
    await keepNamespaceReady();
    return { network, release };
  } catch (error) {
    held = false;
    if (--entry.holders === 0) opened.delete(key);
    throw error;
  }
}

// Only when a network is asked for: it takes a tenth of a second to load.
const drivers: Readonly<Record<NonNullable<NetworkOptions['driver']>, () => Promise<{ driver: NetworkDriver }>>> = {
  bridge: () => import('./bridge-driver.ts'),
  vxlan: () => import('./vxlan-driver.ts'),
  macvlan: () => import('./upper-driver.ts'),
  ipvlan: () => import('./upper-driver.ts'),
};
