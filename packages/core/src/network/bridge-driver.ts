import { stateRoot } from '@ns/libc';
import { BridgeNetwork } from '@ns/netns';
import { withoutUndefined } from '../without-undefined.ts';
import type { NetworkDriver } from './network-driver.ts';
import { bridgeOptions } from './network-options.ts';

/** Containers on a bridge of the host. */
export const driver: NetworkDriver = {
  create: (options, entrust) => BridgeNetwork.create({ ...bridgeOptions(options), ...withoutUndefined({ entrust }) }),
  open: ({ name, dns }) =>
    BridgeNetwork.open(name, { stateRoot: stateRoot(), ...withoutUndefined({ upstreams: dns }) }),
  endpoint: ({ name }, owner) => BridgeNetwork.endpoint(name, owner, { stateRoot: stateRoot() }),
};
