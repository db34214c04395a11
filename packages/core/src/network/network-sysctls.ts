import { type NetNamespace, sysctl } from '@ns/netns';
import { resolveSysctls } from '../sysctls.ts';
import type { ContainerSpec } from '../types.ts';

/** Sets those of a namespace from outside: it is the host's to configure, also when the container has a user namespace. */
export function setNetworkSysctls(sysctls: ContainerSpec['sysctls'], netns: NetNamespace): void {
  const parameters = resolveSysctls(sysctls, ['net', 'ipc', 'uts'], { userNamespace: false });
  for (const { key, value, required } of parameters) {
    if (!key.startsWith('net.')) continue;
    try {
      sysctl.setSync(pathOf(key), value, { netns });
    } catch (error) {
      if (required) throw error;
    }
  }
}

/** A slash within a component stands for a dot, as in sysctl(8). */
function pathOf(key: string): string {
  return key
    .split('.')
    .map((part) => part.replaceAll('/', '.'))
    .join('/');
}
