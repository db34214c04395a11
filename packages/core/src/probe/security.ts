import type { Step } from '@ns/launch';
import { appArmorSupport, landlockSupport, selinuxSupport } from '@ns/lsm';
import { compile, profiles, withNotify } from '@ns/seccomp';
import { attempt } from './attempt.ts';
import { Lacking, type Trials } from './capability.ts';

/** What confines a program. */
export type SecurityFeature = 'seccompFilter' | 'seccompNotify' | 'landlock' | 'appArmor' | 'selinux';

/** Filters are put on a process of their own. */
export const securityTrials: Trials<SecurityFeature> = {
  async seccompFilter() {
    const filter = compile(profiles.unconfined);
    await attempt([{ op: 'noNewPrivileges' }, { op: 'seccomp', filter, flags: filter.flags }]);
  },
  async seccompNotify() {
    const filter = compile(withNotify(profiles.unconfined, ['mount']));
    const load: Step = { op: 'seccomp', filter, flags: filter.flags, listener: true };
    await attempt([{ op: 'noNewPrivileges' }, load], {
      whileRunning: async ({ seccompListener }) => {
        // That there is none is told by the step that failed.
        const listener = await seccompListener.catch(() => undefined);
        listener?.close();
      },
    });
  },
  landlock() {
    const { abi, why, fix } = landlockSupport();
    if (abi === 0) throw new Lacking(why!, fix!);
    return `ABI ${abi}`;
  },
  appArmor() {
    const { available, why, fix } = appArmorSupport();
    if (!available) throw new Lacking(why!, fix!);
  },
  selinux() {
    const { available, mode, why, fix } = selinuxSupport();
    if (!available) throw new Lacking(why!, fix!);
    return mode;
  },
};
