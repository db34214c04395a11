import type { BridgeNetwork, Endpoint, Entrust } from '@ns/netns';
import type { NetworkOptions } from './network-options.ts';

/** What a network does, whatever it is made of. */
export type NetworkBackend = Pick<
  BridgeNetwork,
  | 'record'
  | 'gateways'
  | 'egress'
  | 'changeEgress'
  | 'egressOf'
  | 'changeEgressOf'
  | 'connect'
  | 'rename'
  | 'disconnect'
  | 'endpoints'
  | 'prune'
  | 'remove'
  | 'close'
>;

/** One way to make networks. */
export interface NetworkDriver {
  /** @param entrust - it is to die with this process, and told what that would leave */
  create(options: NetworkOptions, entrust?: Entrust): Promise<NetworkBackend>;
  open(options: NetworkOptions): Promise<NetworkBackend>;
  /** The place that a container has in it, read without opening it. */
  endpoint(options: NetworkOptions, owner: string): Endpoint | undefined;
  /** What is left to do when the network is gone. */
  removed?(options: NetworkOptions): Promise<void>;
}
