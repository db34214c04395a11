export type { NamespaceKind } from '@ns/launch';
export {
  type AllocateIdsOptions,
  allocateIds,
  defaultIdPools,
  IdLease,
  type IdPools,
  reclaimIds,
  releaseIds,
  type ShareIdsOptions,
  shareIds,
} from './allocate-ids.ts';
export { type EnterDesign, type EnterUser, enterPlan } from './enter-plan.ts';
export { type EnterOptions, type EnterTarget, enter } from './enter-process.ts';
export { EnteredProcess, type EnteredProcessOptions, type EnterResult } from './entered-process.ts';
export { IdAllocationError, NamespaceError, NotEnterableError } from './errors.ts';
export type { IdInterval } from './free-range.ts';
export { type NamespaceAction, namespaceHint } from './hints.ts';
export { checkDomainname, checkHostname } from './host-names.ts';
export { IdMap, MAX_RANGES } from './id-map.ts';
export { type IdMappingSpec, type IdMappings, parseIdMappings } from './id-mappings.ts';
export { type NamespaceKindName, namespaceKind, namespaceKinds } from './kinds.ts';
export { listNamespaces, type NamespaceInfo } from './list-namespaces.ts';
export { Namespace, type NamespaceId } from './namespace.ts';
export type { NamespaceTarget } from './open-namespace.ts';
export { unpin } from './pin.ts';
export {
  ownIdMappings,
  parseSubordinateIds,
  rangesOf,
  readSubordinateIds,
  rootlessIdMappings,
  type SubordinateRange,
  type SubordinateUser,
} from './subordinate-ids.ts';
export {
  formatTimeOffsets,
  parseTimeOffsets,
  parseTimeOffsetsSpec,
  readTimeOffsets,
  type TimeOffsets,
  type TimeOffsetsSpec,
} from './time-offsets.ts';
export {
  canWriteDirectly,
  type IdMapsToWrite,
  writeIdMaps,
  writeIdMapsDirectly,
  writeIdMapsWithHelpers,
} from './write-id-maps.ts';
