export type { AddressGeneration } from './address-generation.ts';
export { type BridgeOptions, type BridgePortOptions, setBridge, setBridgePort } from './bridge.ts';
export {
  addAlternativeName,
  moveToNetns,
  remove,
  removeAlternativeName,
  rename,
  setAddressGeneration,
  setAlias,
  setDown,
  setMac,
  setMaster,
  setMtu,
  setTxQueueLength,
  setUp,
} from './change.ts';
export {
  createBridge,
  createDummy,
  createIpvlan,
  createMacvlan,
  createVeth,
  createVlan,
  createVxlan,
  type NewLink,
  type NewUpperLink,
  type NewVxlan,
  randomMac,
  type VethPeer,
} from './create.ts';
export { get, type Link, type LinkReference, list, type OperState } from './link.ts';
export { createTuntap, type NewTuntap, openTuntap } from './tuntap.ts';
