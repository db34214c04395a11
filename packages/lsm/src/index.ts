export { listSecurityModules } from './active-modules.ts';
export {
  type BuiltInAppArmorProfile,
  type BuiltInProfileState,
  builtInAppArmorProfile,
  ensureBuiltInAppArmorProfile,
} from './apparmor/built-in-profile.ts';
export {
  type DefaultProfileOptions,
  defaultAppArmorProfile,
  type UserNamespaceProfileOptions,
  userNamespaceProfile,
} from './apparmor/default-profile.ts';
export {
  type AppArmorConfinement,
  appArmorConfinement,
  appArmorExecLabel,
  appArmorProcessLabel,
} from './apparmor/exec-label.ts';
export {
  AppArmorProfileError,
  compileAppArmorProfile,
  type LoadedProfile,
  listAppArmorProfiles,
  loadAppArmorProfile,
  removeAppArmorProfile,
} from './apparmor/policy.ts';
export { type AppArmorSupport, appArmorSupport } from './apparmor/support.ts';
export type { ExecLabel } from './exec-label.ts';
export {
  type LandlockEnforcement,
  type LandlockGap,
  type LandlockPathRule,
  type LandlockPlan,
  planLandlock,
} from './landlock/plan.ts';
export type { LandlockFileRight, LandlockScope } from './landlock/rights.ts';
export { type LandlockOptions, LandlockRuleset } from './landlock/ruleset.ts';
export {
  checkLandlockSpec,
  type LandlockFiles,
  type LandlockLogging,
  type LandlockNetwork,
  type LandlockSpec,
} from './landlock/spec.ts';
export { type LandlockSupport, landlockSupport } from './landlock/support.ts';
export { type RestrictedOptions, spawnRestricted } from './restricted-process.ts';
export { type SelinuxQuestion, selinuxAllows } from './selinux/access.ts';
export {
  type ContainerLabels,
  categoryPairLevel,
  containerLabels,
  formatSelinuxContext,
  parseSelinuxContext,
  type SelinuxContext,
} from './selinux/context.ts';
export {
  isSelinuxContextKnown,
  type MountLabel,
  selinuxContext,
  selinuxExecLabel,
  selinuxMountLabel,
  selinuxProcessLabel,
} from './selinux/labels.ts';
export { type SelinuxSupport, selinuxSupport } from './selinux/support.ts';
