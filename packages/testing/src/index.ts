export {
  type CgroupConformanceSubject,
  type ConformingCgroup,
  type ConformingStats,
  cgroupConformance,
} from './cgroup-conformance.ts';
export { needs, notRoot } from './needs.ts';
