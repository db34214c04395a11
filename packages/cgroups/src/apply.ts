import { hasCode, SyscallError } from '@ns/libc';
import type { AbsentLimit, Change, Write } from './change.ts';
import type { CgroupDirectory } from './directory.ts';
import { setCpuset } from './set-cpuset.ts';

/** How a file is written: at once while the cgroup is empty, aside when processes in it can make the write wait. */
type WriteFile = (file: string, value: string) => boolean | Promise<boolean>;

/**
 * Writes changes in order.
 *
 * @returns the limits that could not be set because this kernel lacks the file
 * @throws SyscallError when the kernel refuses a value; what was written before stays
 */
export async function applyChanges(
  directory: CgroupDirectory,
  changes: readonly Change[],
  occupancy: 'empty' | 'occupied',
): Promise<readonly AbsentLimit[]> {
  const writeFile: WriteFile =
    occupancy === 'empty'
      ? (file, value) => directory.write(file, value)
      : (file, value) => directory.writeAside(file, value);
  const handDown: WriteFile = (file, value) => setCpuset(directory, file, value);
  const missing: AbsentLimit[] = [];
  for (const change of changes) {
    const notSet =
      'absent' in change
        ? change.absent
        : 'write' in change
          ? await applyWrite(change.write, change.handDown ? handDown : writeFile)
          : await applyEitherOrder(change.eitherOrder, writeFile);
    if (notSet) missing.push(notSet);
  }
  return missing;
}

async function applyWrite(
  { field, file, value, ifMissing }: Write,
  writeFile: WriteFile,
): Promise<AbsentLimit | undefined> {
  try {
    if (await writeFile(file, value)) return undefined;
  } catch (error) {
    // The file is there, but not what would heed it: a weight of a disk whose scheduler has none.
    if (!ifMissing || !hasCode(error, 'EOPNOTSUPP')) throw error;
  }
  return { field, ...(ifMissing ?? { why: `this kernel has no ${file}` }) };
}

/** Another writer of the same cgroup can make both orders wrong; so often it is not chance any more. */
const attempts = 50;

async function applyEitherOrder(
  [first, second]: readonly [Write, Write],
  writeFile: WriteFile,
): Promise<AbsentLimit | undefined> {
  for (let attempt = 1; ; attempt++) {
    const [before, after] = attempt % 2 === 1 ? [first, second] : [second, first];
    try {
      return (await applyWrite(before, writeFile)) ?? (await applyWrite(after, writeFile));
    } catch (error) {
      if (!(error instanceof SyscallError) || error.code !== 'EINVAL' || attempt === attempts) throw error;
    }
  }
}
