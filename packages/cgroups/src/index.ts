export type { MissingPolicy } from './apply-limits.ts';
export { Cgroup, type JoinPlan } from './cgroup.ts';
export type { Absence, AbsentLimit } from './change.ts';
export { checkDockerLimits } from './check-docker-limits.ts';
export { type CgroupMount, containerCgroupMounts } from './container-mounts.ts';
export type { CpuLimits, CpuQuota } from './controllers/cpu.ts';
export type { CpusetLimits } from './controllers/cpuset.ts';
export type { HugetlbLimits } from './controllers/hugetlb.ts';
export type { IoDeviceLimits, IoLimits } from './controllers/io.ts';
export type { MemoryLimits } from './controllers/memory.ts';
export type { MiscLimits } from './controllers/misc.ts';
export type { NetClsLimits, NetPrioLimits } from './controllers/net.ts';
export type { PidsLimits } from './controllers/pids.ts';
export type { RdmaDeviceLimits, RdmaLimits } from './controllers/rdma.ts';
export { sharesToWeight, weightToShares } from './cpu-weight.ts';
export type { Delegatee } from './delegate.ts';
export { type DeviceRule, defaultDeviceRules } from './device-policy.ts';
export { type DockerLimits, dockerLimitKeys, fromDockerLimits } from './docker-limits.ts';
export { dockerName, inDockersWords } from './docker-words.ts';
export { CgroupBusyError, CgroupClosedError, CgroupExistsError, CgroupGoneError } from './errors.ts';
export type { CgroupEvent, EventsOptions } from './events.ts';
export {
  type CgroupHost,
  type CgroupHostTexts,
  type CgroupMode,
  type Controller,
  detectCgroups,
  type Hierarchy,
  onlyV1,
  parseCgroupHost,
} from './host.ts';
export { type Limits, parseLimits } from './limits.ts';
export type { CreateOptions } from './make-cgroup.ts';
export type { Parent } from './placement.ts';
export { type CgroupPlan, type PlannedDirectory, type PlannedParent, type PlanOptions, planCgroup } from './plan.ts';
export { type PrunedCgroups, pruneCgroups } from './prune.ts';
export type { PressureTrigger } from './psi-trigger.ts';
export { parseSize, type Size } from './size.ts';
export type { CpuStats } from './stats/cpu.ts';
export type { HugetlbStats } from './stats/hugetlb.ts';
export type { IoCounters, IoStats } from './stats/io.ts';
export type { MemoryEvents, MemoryStats, SwapStats } from './stats/memory.ts';
export type { NetworkStats } from './stats/network.ts';
export type { PidsStats } from './stats/pids.ts';
export type { Pressure, PressureStats, Stall } from './stats/pressure.ts';
export type { Peaks, Stats, StatsOptions } from './stats.ts';
export { createDelegatedScope, type DelegatedScope, type DelegatedScopeOptions } from './systemd-scope.ts';
