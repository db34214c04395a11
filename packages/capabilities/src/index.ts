export { CapabilitySet } from './capability-set.ts';
export { dockerDefault } from './docker-default.ts';
export {
  decodeFileCapabilities,
  encodeFileCapabilities,
  type FileCapabilities,
  formatFileCapabilities,
  parseFileCapabilities,
} from './file-capabilities.ts';
export {
  type FileReference,
  readFileCapabilities,
  removeFileCapabilities,
  writeFileCapabilities,
} from './file-capabilities-xattr.ts';
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
export {
  formatSecurebits,
  getSecurebits,
  parseSecurebits,
  type SecurebitName,
  securebitNames,
  setSecurebits,
} from './securebits.ts';
export { type CapabilityState, formatCapabilities, parseCapabilities } from './text-form.ts';
export {
  clearAmbient,
  dropBounding,
  lowerAmbient,
  raiseAmbient,
  setThreadCapabilities,
  type ThreadCapabilities,
} from './thread-capabilities.ts';
