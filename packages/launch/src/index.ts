export { Adopted, type AdoptOptions, readExit } from './adopted.ts';
export { describeStep } from './describe-step.ts';
export { type ExplainedStep, Explanation, explain } from './explain.ts';
export { type LaunchOptions, launch } from './launch.ts';
export { type Exit, Launched } from './launched.ts';
export type { FdLayout, Step } from './lowering.ts';
export { type PreparedOptions, PreparedProgram } from './prepared-program.ts';
export type { ResourceUsage } from './records.ts';
export { SIGNALS, signalName } from './signals.ts';
export { StandardStreams, type Stdio } from './standard-streams.ts';
export type { DetachedMountStep } from './steps/detached-mount.ts';
export type {
  DeviceNode,
  LayerDirectory,
  MountAttribute,
  MountStep,
  OverlayUpper,
  Propagation,
} from './steps/mount.ts';
export { OUTPUT_TIME_SIZE, type OutputFiles, outputTimesPath } from './steps/output-files.ts';
export { type NamespaceKind, namespaceFlags, type ProcessStep, type RlimitName, rlimits } from './steps/process.ts';
export type { SecurityStep } from './steps/security.ts';
export type { IdMaps, IdRange, Leftovers, SupervisionStep } from './steps/supervision.ts';
export { endZygote } from './zygote.ts';
