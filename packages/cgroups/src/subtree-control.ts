import { ERRNO, SyscallError, UnavailableError } from '@ns/libc';
import type { Absence } from './change.ts';
import { readControlFile, writeControlFile } from './control-file.ts';
import { CgroupBusyError } from './errors.ts';
import type { Controller, Hierarchy } from './host.ts';
import { parseHierarchyPath } from './name.ts';
import { vacateOwnCgroup } from './own-cgroup.ts';
import { absolutePath, openDirectory } from './tree.ts';

const words = (text: string | number): readonly string[] =>
  typeof text === 'string' ? text.split(/\s+/).filter(Boolean) : [];

/**
 * Hands controllers down a v2 tree: a cgroup has the files of a controller only when every directory above lists it in
 * `cgroup.subtree_control`.
 *
 * @param components - of the directory whose children are to have the controllers
 * @returns the controllers the children will not have, with the reason
 * @throws CgroupBusyError when a directory on the way holds processes (v2 allows those only in leaves)
 */
export async function enableControllers(
  hierarchy: Hierarchy,
  components: readonly string[],
  controllers: readonly Controller[],
): Promise<ReadonlyMap<Controller, Absence>> {
  const missing = new Map<Controller, Absence>();
  for (let depth = 0; depth <= components.length; depth++) {
    const path = components.slice(0, depth);
    using directory = openDirectory(hierarchy, path);
    if (!directory) return missing; // removed by another: making the leaf finds out and starts over
    const enabled = words(readControlFile(directory.fd, 'cgroup.subtree_control'));
    const wanted = controllers.filter((name) => !enabled.includes(name) && !missing.has(name));
    if (wanted.length === 0) continue;
    const available = words(readControlFile(directory.fd, 'cgroup.controllers'));
    for (const name of wanted) {
      if (!available.includes(name)) missing.set(name, notHandedDown(name, absolutePath(hierarchy, path)));
    }
    const enable = wanted.filter((name) => available.includes(name));
    if (enable.length === 0) continue;
    const value = enable.map((name) => `+${name}`).join(' ');
    if (holdsProcesses(directory.fd)) {
      if (!isOwn(hierarchy, path)) throw holdsProcessesError(absolutePath(hierarchy, path));
      await vacateOwnCgroup(hierarchy, directory);
    }
    const result = writeControlFile(directory.fd, 'cgroup.subtree_control', value);
    if (result < 0) throw refusal(result, absolutePath(hierarchy, path), value);
  }
  return missing;
}

/**
 * Whether processes stand in the way of children with controllers. Asked before the write, because the kernel refuses
 * only some: cpu, cpuset and pids it grants to a cgroup with processes by making it a thread root, whose children are
 * then invalid (EOPNOTSUPP). The machine's root, which alone has no cgroup.type, may hold processes.
 */
function holdsProcesses(directoryFd: number): boolean {
  if (typeof readControlFile(directoryFd, 'cgroup.type') === 'number') return false;
  return words(readControlFile(directoryFd, 'cgroup.procs')).length > 0;
}

function notHandedDown(name: Controller, path: string): Absence {
  return {
    why: `${path}/cgroup.controllers does not list ${name}`,
    fix: `Enable it in cgroup.subtree_control of the parent; under systemd: systemctl edit the unit, Delegate=${name}`,
  };
}

function isOwn(hierarchy: Hierarchy, components: readonly string[]): boolean {
  return parseHierarchyPath(hierarchy.ownPath).join('/') === components.join('/');
}

function refusal(result: number, path: string, value: string): Error {
  const cause = new SyscallError('write', result, { path: `${path}/cgroup.subtree_control`, args: { value } });
  if (result === -ERRNO.EBUSY || result === -ERRNO.EOPNOTSUPP) return holdsProcessesError(path, cause);
  if (result === -ERRNO.EACCES || result === -ERRNO.EPERM || result === -ERRNO.EROFS) {
    return new UnavailableError(
      `cgroup controllers ${value}`,
      `${path} is not delegated to this user`,
      'Use createDelegatedScope under systemd, or start it with systemd-run --user --scope -p Delegate=yes COMMAND',
    );
  }
  return cause;
}

function holdsProcessesError(path: string, cause?: unknown): CgroupBusyError {
  return new CgroupBusyError(path, 'it or a parent holds processes, so controllers cannot be given to children', {
    hint: 'Move them to a child first: on cgroup v2 processes live only in leaves ("no internal process constraint")',
    cause,
  });
}
