export { CapabilitySet } from './capability-set.ts';
export { dockerDefault } from './docker-default.ts';
export {
  CAPABILITY_BITS,
  type Capability,
  type CapabilityName,
  capabilityName,
  capabilityNames,
  capabilityNumber,
  lastCapability,
} from './names.ts';
export { getProcessCapabilities, type ProcessCapabilities, parseProcessStatus } from './process-capabilities.ts';
export {
  type CapabilityChanges,
  type CapabilitySpec,
  type CapabilityWarning,
  type ResolvedCapabilities,
  resolveCapabilities,
} from './resolve-capabilities.ts';
export { type CapabilityState, formatCapabilities, parseCapabilities } from './text-form.ts';
