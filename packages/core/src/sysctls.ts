import type { NamespaceKind } from '@ns/launch';
import { SpecError } from '@ns/libc';
import type { ContainerDesign } from './plan/container-plan.ts';

/** Parameters that belong to a namespace: changing them changes nothing for anybody else. */
const namespaced: readonly (readonly [pattern: RegExp, kind: NamespaceKind])[] = [
  [/^kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)$/, 'ipc'],
  [/^fs\.mqueue\.[a-z_]+$/, 'ipc'],
  [/^kernel\.(hostname|domainname)$/, 'uts'],
  // A slash stands for a dot inside a name: net.ipv4.conf.eth0/100.forwarding. Never two, which would be `..`.
  [/^net(\.[a-z0-9_-]+(\/[a-z0-9_-]+)*)+$/i, 'net'],
];

/** An ordinary user may open low ports and ping: in a network namespace of one's own there is nothing to protect them from. */
const networkDefaults = { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' };

/**
 * Checks kernel parameters.
 *
 * @throws SpecError for one that would change the host (CVE-2022-0811), or whose namespace the container does not own
 */
export function resolveSysctls(
  sysctls: Readonly<Record<string, string | number>> = {},
  created: readonly NamespaceKind[],
  options: { userNamespace: boolean },
): ContainerDesign['sysctls'] {
  const asked = Object.entries(sysctls).map(([name, value]) => {
    const key = normaliseKey(name);
    const field = `sysctls.${name}`;
    const kind = namespaced.find(([pattern]) => pattern.test(key))?.[1];
    if (!kind)
      throw new SpecError(
        field,
        'a parameter that belongs to a namespace (net.*, kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*)',
        value,
      );
    if (!created.includes(kind)) throw new SpecError(field, `a container with its own ${kind} namespace`, value);
    return { key, value: String(value), required: true };
  });
  const given = new Set(asked.map(({ key }) => key));
  const defaults = created.includes('net') && !options.userNamespace ? Object.entries(networkDefaults) : [];
  return [
    ...defaults.filter(([key]) => !given.has(key)).map(([key, value]) => ({ key, value, required: false })),
    ...asked,
  ];
}

/** `net/ipv4/x` and `net.ipv4.x` are the same; the first separator decides which one separates: sysctl(8). */
function normaliseKey(name: string): string {
  const separator = /[./]/.exec(name)?.[0];
  return separator === '/' ? name.replace(/[./]/g, (character) => (character === '/' ? '.' : '/')) : name;
}
