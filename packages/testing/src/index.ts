export {
  type CgroupConformanceSubject,
  type ConformingCgroup,
  type ConformingStats,
  cgroupConformance,
} from './cgroup-conformance.ts';
export { FileLease } from './file-lease.ts';
export {
  eventually,
  type KernelState,
  kernelState,
  leftSince,
  type ProcessEntry,
  processEntries,
  processes,
  processesInNamespace,
} from './kernel-state.ts';
export { leaveDescriptors, limitDescriptors } from './limit-descriptors.ts';
export { needs, notRoot } from './needs.ts';
export { loadSelinuxTestPolicy } from './selinux-policy.ts';
export { slowness } from './slowness.ts';
export {
  type ConformingRoot,
  type ConformingStorageDriver,
  type StorageConformanceSubject,
  type StorageSetup,
  storageDriverConformance,
} from './storage-conformance.ts';
export { Swapper } from './swapper.ts';
export { takenOrRefused } from './taken-or-refused.ts';
