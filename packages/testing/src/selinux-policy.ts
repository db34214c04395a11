import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/* A policy of two kinds of processes, for a virtual machine whose kernel runs SELinux and has no policy yet. What it says
   nothing about is allowed. */

const categories = Array.from({ length: 1024 }, (_, i) => `c${i}`);
// The kernel's own numbers, in its order.
const initialSids =
  'kernel security unlabeled fs file file_labels init any_socket port netif netmsg node igmp_packet icmp_socket tcp_socket sysctl_modprobe sysctl sysctl_fs sysctl_kernel sysctl_net sysctl_net_unix sysctl_vm sysctl_dev kmod policy scmp_packet devnull'.split(
    ' ',
  );
const fileRights =
  'read write append create open getattr setattr execute execute_no_trans entrypoint map lock ioctl unlink relabelfrom relabelto';
const all = '((s0) (s0 (range c0 c1023)))';
const lowest = '((s0) (s0))';

/** Text for secilc(8). A container may read and execute the host's files, and write its own, if the categories are its. */
const policy = `
(handleunknown allow)
(mls true)
(policycap nnp_nosuid_transition)
(class file (${fileRights}))
(class process (transition dyntransition setexec))
(class process2 (nnp_transition))
(classorder (file process process2))
${initialSids.map((sid) => `(sid ${sid})`).join('\n')}
(sidorder (${initialSids.join(' ')}))
(sensitivity s0)
(sensitivityorder (s0))
${categories.map((category) => `(category ${category})`).join('\n')}
(categoryorder (${categories.join(' ')}))
(sensitivitycategory s0 (range c0 c1023))
(user system_u)
(userlevel system_u (s0))
(userrange system_u ${all})
(role system_r)
(role object_r)
(userrole system_u system_r)
(userrole system_u object_r)
(type kernel_t)
(type container_t)
(type guarded_t)
(type host_t)
(type container_file_t)
(roletype system_r kernel_t)
(roletype system_r container_t)
(roletype system_r guarded_t)
(roletype object_r host_t)
(roletype object_r container_file_t)
${initialSids
  .map((sid) =>
    (sid === 'kernel' || sid === 'init'
      ? `system_u system_r kernel_t ${all}`
      : `system_u object_r host_t ${lowest}`
    ).replace(/^/, `(sidcontext ${sid} (`),
  )
  .map((line) => `${line}))`)
  .join('\n')}
${['overlay', 'ext4', 'tmpfs', 'devtmpfs']
  .map(
    (type) =>
      `(fsuse ${type === 'overlay' || type === 'ext4' ? 'xattr' : 'trans'} ${type} (system_u object_r host_t ${lowest}))`,
  )
  .join('\n')}
(mlsconstrain (file (read write)) (or (dom h1 h2) (eq t1 kernel_t)))
(allow kernel_t host_t (file (${fileRights})))
(allow kernel_t container_file_t (file (${fileRights})))
(allow kernel_t kernel_t (file (${fileRights})))
(allow kernel_t container_t (file (${fileRights})))
(allow container_t container_t (file (read write open getattr)))
(allow kernel_t kernel_t (process (transition dyntransition setexec)))
(allow kernel_t container_t (process (transition dyntransition)))
(allow kernel_t container_t (process2 (nnp_transition)))
(allow kernel_t guarded_t (process (transition)))
(allow kernel_t guarded_t (process2 (nnp_transition)))
(allow kernel_t guarded_t (file (${fileRights})))
(allow guarded_t guarded_t (file (read write open getattr)))
(allow guarded_t host_t (file (read open getattr execute execute_no_trans entrypoint map lock ioctl)))
(allow container_t container_t (process (setexec)))
(allow container_t host_t (file (read open getattr execute execute_no_trans entrypoint map lock ioctl)))
(allow container_t container_file_t (file (${fileRights})))
`;

/**
 * Loads a policy of `container_t`, `container_file_t` and `host_t`, unless there is one, and has it enforced. Only in the
 * virtual machine of the tests; needs secilc(8).
 *
 * @returns why SELinux cannot be tested here
 */
export function loadSelinuxTestPolicy(): string | undefined {
  if (existsSync('/sys/fs/selinux/enforce')) return undefined;
  // Never on a machine that somebody uses: every process on it would be under the policy.
  if (process.env.NS_VM !== '1' || !/selinuxfs/.test(readFileSync('/proc/filesystems', 'utf8')))
    return 'SELinux: not a virtual machine whose kernel runs it';
  const scratch = mkdtempSync(join(tmpdir(), 'selinux-'));
  try {
    const [source, binary] = [join(scratch, 'policy.cil'), join(scratch, 'policy')];
    writeFileSync(source, policy);
    execFileSync('secilc', ['-o', binary, '-f', '/dev/null', '-c', '31', source]);
    mkdirSync('/sys/fs/selinux', { recursive: true });
    execFileSync('mount', ['-t', 'selinuxfs', 'selinuxfs', '/sys/fs/selinux']);
    writeFileSync('/sys/fs/selinux/load', readFileSync(binary));
    writeFileSync('/sys/fs/selinux/enforce', '1');
  } finally {
    rmSync(scratch, { recursive: true });
  }
  return undefined;
}
