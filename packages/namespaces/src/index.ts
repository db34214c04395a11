export type { NamespaceKind } from '@ns/launch';
export { IdAllocationError, NamespaceError, NotEnterableError } from './errors.ts';
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
  formatTimeOffsets,
  parseTimeOffsets,
  parseTimeOffsetsSpec,
  readTimeOffsets,
  type TimeOffsets,
  type TimeOffsetsSpec,
} from './time-offsets.ts';
