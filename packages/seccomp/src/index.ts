export { type Decision, type ScmpAction, SECCOMP_RET } from './actions.ts';
export type { SeccompArch } from './architectures.ts';
export { type CompileOptions, compile } from './compile.ts';
export { type Explanation, explain } from './explain.ts';
export type { FilterFacts, SeccompFilter, SimulatedCall } from './filter.ts';
export { availableActions, type InstallOptions, installFilter } from './install-filter.ts';
export { lowWordEquals, lowWordExcept } from './low-word.ts';
export type { NotificationReply } from './notification.ts';
export { parseProfile } from './parse-profile.ts';
export type { ProfileArgument, ProfileCondition, ProfileRule, ScmpOperator, SeccompProfile } from './profile.ts';
export { dockerProfileVersion, profiles } from './profiles.ts';
export { CallerGoneError, SeccompCall } from './seccomp-call.ts';
export {
  type NotifierOptions,
  type SeccompHandler,
  type SeccompHandlers,
  SeccompNotifier,
} from './seccomp-notifier.ts';
export { type SeccompData, type SimulationResult, simulate } from './simulate.ts';
export { SyscallRecorder } from './syscall-recorder.ts';
export { syscallNames, syscallTablesVersion } from './syscall-table.ts';
export { SECCOMP_FILTER_FLAG } from './validate-profile.ts';
export { withNotify } from './with-notify.ts';
