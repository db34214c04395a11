export type { DockerLimits, IoDeviceLimits, PressureTrigger, Stats } from '@ns/cgroups';
export type { Explanation, IdRange, Propagation, RlimitName } from '@ns/launch';
export { NsError, SeveralErrors, SpecError, SyscallError, UnavailableError } from '@ns/libc';
export type { LandlockSpec } from '@ns/lsm';
export type { EgressOptions, Endpoint, RefusedConnection } from '@ns/netns';
export type { AppliedChanges, ApplyChangesOptions, Change, CopiedTree, StoredLayer } from '@ns/overlayfs';
export type { SeccompHandlers, SeccompProfile } from '@ns/seccomp';
export type { CgroupWatchEvent } from './cgroup-watch.ts';
export { CheckpointError } from './checkpoint/checkpoint-error.ts';
export type { CheckpointOptions, RestoreOptions } from './checkpoint/options.ts';
export { Container } from './container.ts';
export type { StopOptions } from './container-control.ts';
export type { CopyOptions, ExportOptions } from './container-copies.ts';
export type { ContainerEvent } from './container-event.ts';
export type { ContainerFilter, ContainerInfo } from './container-info.ts';
export { ContainerProcess } from './container-process.ts';
export type { ContainerStatus } from './container-state.ts';
export type { ContainerWarning } from './container-warning.ts';
export { ContainerStartError, ContainerStateError, ProcessFailedError } from './errors.ts';
export type { ExecOptions } from './exec.ts';
export type { MapOwner } from './file-owners.ts';
export type { HealthSpec, HealthState } from './health.ts';
export type { WriteLimit } from './kept-writes.ts';
export { type LearntProfile, learnSeccompProfile } from './learn-seccomp.ts';
export type { LogEntry, LogOptions } from './log-buffer.ts';
export type { LogSpec } from './log-location.ts';
export type * from './mount-spec.ts';
export type { ContainerPort } from './network/live-networks.ts';
export { Network, type NetworkInfo, NetworkInUseError, type NetworkMember } from './network/network.ts';
export type { NetworkOptions } from './network/network-options.ts';
export type { Bandwidth, BitRate, NetworkAttachment, NetworkReference, NetworkSpec } from './network/network-spec.ts';
export type { OutputChunk } from './output.ts';
export type { Patience } from './patience.ts';
export type { ContainerUpdate, PlannedChange } from './planned-changes.ts';
export { Pool, type PoolOptions, type PoolState, type WaitingOptions } from './pool.ts';
export type { PooledRunOptions, PooledSandbox } from './pooled-sandbox.ts';
export type { Capability } from './probe/capability.ts';
export type { CgroupFeature } from './probe/cgroups.ts';
export type { FileSystemFeature } from './probe/file-systems.ts';
export type { NamespaceFeature } from './probe/namespaces.ts';
export type { NetworkFeature } from './probe/networks.ts';
export type { ProcessFeature } from './probe/processes.ts';
export type { ProgramFeature } from './probe/programs.ts';
export type { SecurityFeature } from './probe/security.ts';
export { type Capabilities, type Feature, probe } from './probe.ts';
export type { ProcessInfo } from './process-list.ts';
export { type Pruned, prune } from './prune.ts';
export type { PlannedRestart, RestartPolicy } from './restart-policy.ts';
export type { Result, Usage } from './result.ts';
export { run } from './run.ts';
export type { SupervisionEvent } from './supervision.ts';
export type { TerminalSize } from './terminal-streams.ts';
export { type ContainerTrace, containerChannels, type TracedOperation } from './tracing.ts';
export type * from './types.ts';
export { Volume, type VolumeInfo, type VolumeOptions } from './volume.ts';
export { WaitError } from './wait/until-ready.ts';
export {
  type ExitCondition,
  type HttpCondition,
  type LogCondition,
  type Timed,
  Wait,
  type WaitCondition,
} from './wait/wait.ts';
