import { readFileSync } from 'node:fs';
import { O, open, SyscallError, write } from '@ns/libc';
import type { ExecLabel } from '../exec-label.ts';
import { requireModule } from '../require-module.ts';
import { parseSelinuxContext } from './context.ts';
import { selinuxSupport } from './support.ts';

/**
 * What a process writes to run the next program under a label (setexeccon(3)). The policy must allow the transition;
 * with no_new_privs it must allow `nnp_transition` as well (since 4.14).
 *
 * @throws SpecError when the label cannot be one
 * @throws UnavailableError when the kernel does not run SELinux
 *
 * @example
 * ```ts
 * const { process } = containerLabels({ level: 's0:c1,c2' });
 * spawnRestricted('id', [], { landlock: { files: { execute: ['/'] } }, label: selinuxExecLabel(process) });
 * ```
 */
export function selinuxExecLabel(label: string): ExecLabel {
  parseSelinuxContext(label, 'selinux.process');
  requireSelinux();
  return { file: '/proc/thread-self/attr/exec', label };
}

/**
 * What a process writes to be under a label from now on (setcon(3)), without executing anything: for one that stays what it
 * is, such as the first process of a container. The policy must allow it `setcurrent` and `dyntransition`
 * ({@link selinuxAllows}), and must let the new label use what the process has open.
 *
 * @throws SpecError when the label cannot be one
 * @throws UnavailableError when the kernel does not run SELinux
 *
 * @example
 * ```ts
 * const step = { op: 'execLabel', ...selinuxProcessLabel('system_u:system_r:container_t:s0:c1,c2') };
 * ```
 */
export function selinuxProcessLabel(label: string): ExecLabel {
  parseSelinuxContext(label, 'selinux.process');
  requireSelinux();
  return { file: '/proc/thread-self/attr/current', label };
}

/**
 * The context of the calling thread (getcon(3)): `/proc/thread-self/attr/current`. Needs no privilege.
 *
 * @throws UnavailableError when the kernel does not run SELinux
 *
 * @example
 * ```ts
 * const { type } = parseSelinuxContext(selinuxContext());
 * ```
 */
export function selinuxContext(): string {
  requireSelinux();
  return readFileSync('/proc/thread-self/attr/current', 'latin1').replace(/[\0\n]+$/, '');
}

/** A mount option as fsconfig(2) takes it, and as the data of mount(2) does. */
export interface MountLabel {
  /** Name of the option. */
  readonly key: 'context' | 'fscontext' | 'defcontext' | 'rootcontext';
  /** The label. */
  readonly value: string;
  /** `context="…"`: in a string of options the commas between categories need quotes. */
  readonly option: string;
}

/**
 * The option that gives files of a mount a label.
 *
 * @param options.key - `'context'` (default): all files have it and setting others is refused. The other keys: mount(8)
 * @throws SpecError when the label cannot be one
 * @throws UnavailableError when the kernel does not run SELinux
 *
 * @example
 * ```ts
 * const { option } = selinuxMountLabel('system_u:object_r:container_file_t:s0:c1,c2');
 * option; // 'context="system_u:object_r:container_file_t:s0:c1,c2"'
 * ```
 */
export function selinuxMountLabel(label: string, options: { readonly key?: MountLabel['key'] } = {}): MountLabel {
  parseSelinuxContext(label, 'selinux.mount');
  requireSelinux();
  const { key = 'context' } = options;
  return { key, value: label, option: `${key}="${label}"` };
}

/**
 * Whether the loaded policy knows a context: a write to /sys/fs/selinux/context.
 *
 * @throws UnavailableError when the kernel does not run SELinux
 * @throws SyscallError `EACCES` when the policy lets this process not ask
 *
 * @example
 * ```ts
 * isSelinuxContextKnown('system_u:system_r:container_t:s0'); // false without container-selinux
 * ```
 */
export function isSelinuxContextKnown(label: string): boolean {
  parseSelinuxContext(label);
  requireSelinux();
  using file = open('/sys/fs/selinux/context', O.RDWR);
  try {
    write(file.fd, Buffer.from(`${label}\0`));
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'EINVAL') return false;
    throw error;
  }
}

const requireSelinux = () => requireModule('SELinux', selinuxSupport());
