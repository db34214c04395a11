import { ERRNO, hasCode, SyscallError } from '@ns/libc';
import { readControlFile, writeControlFile } from './control-file.ts';
import type { CgroupDirectory } from './directory.ts';
import { CgroupBusyError } from './errors.ts';
import { readMarks, setMark } from './mark.ts';
import { formatNumberList, parseNumberList } from './number-list.ts';
import { walkBelow } from './walk.ts';

/* On v2 a cpuset follows its parent's. On v1 it stays, and is in the way: a list has to contain those of the children (EBUSY)
   and be contained in the parent's (EACCES). So we have them follow. Who was given a list of his own is marked with it:
   once it was cut to the parent's it does not tell any more. */

/** Somebody may make cgroups in it meanwhile; so often it is not chance any more. */
const attempts = 50;

/**
 * Sets `cpuset.cpus` or `cpuset.mems` of a v1 cgroup. Those below get the same, or as much of their own as is in it; what the
 * container itself has made there has none of its own. Interrupted, it only has to be done again.
 *
 * @returns `false` when this kernel has no such file
 * @throws SyscallError when the kernel refuses the list
 * @throws CgroupBusyError `ERR_NS_CGROUP_BUSY` when somebody keeps making others in it
 */
export function setCpuset(directory: CgroupDirectory, file: string, list: string): boolean {
  if (directory.read(file) === undefined) return false;
  for (let attempt = 0; attempt < attempts; attempt++) {
    const fits = writeUnlessBusy(directory, file, list);
    if (fits) setMark(directory.fd, file, list, 'mark the limits of a cgroup');
    else directory.write(file, union(directory.read(file) ?? '', list));
    if (setBelow(directory, file, list) && fits) return true;
  }
  throw new CgroupBusyError(directory.path, `its ${file} cannot become ${list}`, {
    hint: 'Likely cgroups are made in it all the time, or a process of SCHED_DEADLINE needs what it has',
  });
}

/** @returns `false` when a child is in the way */
function writeUnlessBusy(directory: CgroupDirectory, file: string, list: string): boolean {
  try {
    return directory.write(file, list);
  } catch (error) {
    if (hasCode(error, 'EBUSY')) return false;
    throw error;
  }
}

/** @returns `false` when somebody else has changed something meanwhile */
function setBelow({ fd: topFd, path: top }: CgroupDirectory, file: string, list: string): boolean {
  const lists = [list];
  let settled = true;
  const write = (fd: number, value: string, name: string) => {
    const result = writeControlFile(fd, file, value);
    if (result === -ERRNO.EBUSY || result === -ERRNO.EACCES) settled = false;
    else if (result < 0 && result !== -ERRNO.ENOENT && result !== -ERRNO.ENODEV)
      throw new SyscallError('write', result, { path: `${top}/…/${name}/${file}`, args: { value } });
  };
  walkBelow(topFd, {
    // Downwards each is widened, then all that is in it; upwards it is narrowed.
    enter(fd, path) {
      const present = readControlFile(fd, file);
      const wanted = cut(readMarks(fd, file)[0] ?? '', lists.at(-1)!);
      lists.push(wanted);
      if (typeof present === 'string') write(fd, union(present, wanted), path.at(-1)!);
      return true;
    },
    leave: ({ fd, name }) => write(fd, lists.pop()!, name),
  });
  return settled;
}

function union(list: string, other: string): string {
  return formatNumberList(new Set([...parseNumberList(list), ...parseNumberList(other)]));
}

/** As much of a list as is in another one; that, where it is nothing. */
function cut(list: string, to: string): string {
  const allowed = parseNumberList(to);
  const both = [...parseNumberList(list)].filter((number) => allowed.has(number));
  return both.length > 0 ? formatNumberList(both) : to;
}
