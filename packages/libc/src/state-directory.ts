import { chmodSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { hasCode, SpecError, SyscallError, UnavailableError } from './errors.ts';
import { fileCall } from './file-call.ts';
import { makeDirectories } from './make-directories.ts';

/**
 * Where state lives that outlives a process: `NS_STATE_ROOT`, else `/run/ns` as root, else `$XDG_RUNTIME_DIR/ns`. Without
 * that variable, as after su(1) and in jobs of cron, it is where systemd makes that directory when the user is logged in.
 *
 * @throws SpecError `NS_STATE_ROOT` is not an absolute path, or belongs to somebody else
 */
export function stateRoot(): string {
  const { NS_STATE_ROOT, XDG_RUNTIME_DIR = '' } = process.env;
  if (NS_STATE_ROOT) {
    if (!isAbsolute(NS_STATE_ROOT)) throw new SpecError('NS_STATE_ROOT', 'an absolute path', NS_STATE_ROOT);
    refuseOfAnother(NS_STATE_ROOT);
    return NS_STATE_ROOT;
  }
  const uid = process.geteuid!();
  if (uid === 0) return '/run/ns';
  // Relative paths are to be ignored (XDG Base Directory Specification).
  return join(isAbsolute(XDG_RUNTIME_DIR) ? XDG_RUNTIME_DIR : `/run/user/${uid}`, 'ns');
}

/** Whoever can write there says which processes are a container's, and which are killed with it. */
function refuseOfAnother(directory: string): void {
  const owner = statSync(directory, { throwIfNoEntry: false })?.uid ?? 0;
  const self = process.geteuid!();
  if (owner === self || owner === 0) return;
  const hint = 'Unset it, or name a directory that nobody else can write to';
  throw new SpecError('NS_STATE_ROOT', `a directory of user ${self}`, `${directory} of user ${owner}`, hint);
}

/**
 * A directory for state, made when it is missing, for its owner's eyes only.
 *
 * @throws UnavailableError this user cannot make it, or not write to it
 * @throws SyscallError `ENOSPC`, `EDQUOT`: there is no room for it
 */
export function stateDirectory(...path: [root: string, ...names: string[]]): string {
  const directory = join(...path);
  try {
    makeDirectories(directory, 0o700);
    // An existing directory keeps its mode: it may have been made with another umask.
    fileCall(directory, () => chmodSync(directory, 0o700));
  } catch (error) {
    const isFull = error instanceof SyscallError && hasCode(error, 'ENOSPC', 'EDQUOT');
    throw isFull
      ? error
      : new UnavailableError(
          'a directory for state',
          (error as Error).message,
          'Set NS_STATE_ROOT to a directory that this user may write to, and XDG_DATA_HOME where that of volumes is meant',
        );
  }
  return directory;
}
