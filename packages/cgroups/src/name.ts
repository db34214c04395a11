import { SpecError } from '@ns/libc';

/** kernfs stores a name in a dentry: NAME_MAX of every Linux file system. */
const maxNameBytes = 255;
/** A path given to one system call is at most PATH_MAX; what is left is for the mount point. */
const maxPathBytes = 3_072;

const expected = 'a relative path of names such as "jobs/42": no empty, "." or hidden component, no control character';

/**
 * Splits the name of a cgroup into the components of its path.
 *
 * Stricter than the kernel: a leading dot would be hidden from `ls`, a name like `cgroup.procs` or `memory.max` would
 * collide with the kernel's own files (cgroup-v2.rst, "Avoid Name Collisions"), and control characters (a newline
 * above all) would forge lines of `/proc/PID/cgroup`.
 *
 * @throws SpecError for everything that is not one directory beneath the parent
 */
export function parseCgroupName(name: unknown, field = 'name'): readonly string[] {
  if (typeof name !== 'string') throw new SpecError(field, expected, name);
  // Written as UTF-8, halves of characters would all be one and the same.
  if (/\p{Surrogate}/u.test(name)) throw new SpecError(field, 'text of whole characters', name);
  if (Buffer.byteLength(name) > maxPathBytes) throw new SpecError(field, `at most ${maxPathBytes} bytes`, name);
  const components = name.split('/');
  for (const component of components) {
    if (component === '' || component.startsWith('.') || /[\x00-\x1f\x7f]/.test(component)) {
      throw new SpecError(field, expected, name);
    }
    if (Buffer.byteLength(component) > maxNameBytes) {
      throw new SpecError(field, `components of at most ${maxNameBytes} bytes`, name);
    }
    if (reservedName.test(component)) {
      throw new SpecError(field, 'a name that cannot collide with a file of the kernel', name, `Rename ${component}`);
    }
  }
  return components;
}

// Every controller's files begin with its name and a dot; these are all controllers of v1 and v2.
const reservedName =
  /^(?:(?:cgroup|cpu|cpuacct|cpuset|memory|io|blkio|pids|devices|freezer|hugetlb|rdma|misc|dmem|net_cls|net_prio|perf_event|debug|irq)\.|tasks$|notify_on_release$|release_agent$)/;

/**
 * Splits an absolute path inside a hierarchy, `/system.slice/app.scope`; `/` has no components.
 *
 * Names in it may be anything the kernel allows (systemd's slices begin with a dash, `init.scope` has a dot).
 */
export function parseHierarchyPath(path: unknown, field = 'parent'): readonly string[] {
  const want = 'an absolute path inside the hierarchy, such as "/ns", without "." and ".."';
  if (typeof path !== 'string' || !path.startsWith('/')) throw new SpecError(field, want, path);
  const components = path.split('/').filter((component) => component !== '');
  for (const component of components) {
    if (
      component === '.' ||
      component === '..' ||
      /[\x00-\x1f\x7f]/.test(component) ||
      Buffer.byteLength(component) > maxNameBytes
    ) {
      throw new SpecError(field, want, path);
    }
  }
  return components;
}
