import type { NamespaceKind } from '@ns/launch';
import { appArmorSupport, userNamespaceProfile } from '@ns/lsm';
import { attemptInside } from './attempt.ts';
import { Lacking, type Trial, type Trials } from './capability.ts';

/** Namespaces: namespaces(7). */
export type NamespaceFeature =
  | 'mountNamespace'
  | 'pidNamespace'
  | 'networkNamespace'
  | 'utsNamespace'
  | 'ipcNamespace'
  | 'cgroupNamespace'
  | 'timeNamespace'
  | 'userNamespace';

/** Each is made for a process that then ends. */
export const namespaceTrials: Trials<NamespaceFeature> = {
  mountNamespace: inNamespace('mnt'),
  pidNamespace: inNamespace('pid'),
  networkNamespace: inNamespace('net'),
  utsNamespace: inNamespace('uts'),
  ipcNamespace: inNamespace('ipc'),
  cgroupNamespace: inNamespace('cgroup'),
  async timeNamespace() {
    await attemptInside({
      child: [
        { op: 'unshare', namespaces: ['time'] },
        { op: 'timeOffsets', monotonicNs: 1e9, boottimeNs: 1e9 },
      ],
    });
  },
  async userNamespace() {
    const uid = process.geteuid!();
    try {
      await attemptInside({ userNamespace: 'always' });
    } catch (error) {
      if (uid === 0 || !appArmorSupport().restrictsUserNamespaces) throw error;
      const profile = userNamespaceProfile({ name: 'ns-node', program: process.execPath });
      throw new Lacking(
        'AppArmor lets programs make user namespaces only with a profile that says so',
        `As root: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or save this as /etc/apparmor.d/ns-node and run apparmor_parser -r on it:\n${profile}`,
      );
    }
    return `as uid ${uid}`;
  },
};

function inNamespace(kind: NamespaceKind): Trial {
  return () => attemptInside({ namespaces: [kind] });
}
