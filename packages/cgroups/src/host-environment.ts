import { existsSync, readlinkSync } from 'node:fs';

/** Inode of the first cgroup namespace, a constant of the kernel (PROC_CGROUP_INIT_INO in <linux/proc_ns.h>). */
const initialCgroupNamespace = 'cgroup:[4026531835]';

/** Whether this process lives in another cgroup namespace than the machine's first. */
export function inCgroupNamespace(): boolean {
  try {
    return readlinkSync('/proc/self/ns/cgroup') !== initialCgroupNamespace;
  } catch {
    return false; // before 4.6 there is only one
  }
}

/** Whether systemd is the init system, by the test of sd_booted(3). */
export function isSystemd(): boolean {
  return existsSync('/run/systemd/system');
}
