import { SyscallError, UnavailableError } from '@ns/libc';

/** What a mount operation was about, for its error. */
export interface MountAction {
  readonly doing: string;
  readonly path?: string;
  readonly dest?: string;
  readonly args?: Readonly<Record<string, unknown>>;
  readonly hint?: string | undefined;
}

// Each call of the mount API, with the kernel that has it.
const since: Readonly<Record<string, string>> = {
  fsopen: '5.2',
  fsconfig: '5.2',
  fsmount: '5.2',
  open_tree: '5.2',
  move_mount: '5.2',
  mount_setattr: '5.12',
};

/** Runs system calls of one intent; a failure says what was being done, with what, as runc's mountError does. */
export function attempt<T>(action: MountAction, calls: () => T): T {
  try {
    return calls();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (error.code === 'ENOSYS') {
      throw new UnavailableError(
        action.doing,
        `this kernel has no ${error.syscall}(2)`,
        `Use Linux ${since[error.syscall] ?? '5.12'} or later`,
      );
    }
    const { doing, path, dest, args } = action;
    throw new SyscallError(error.syscall, error.errno, {
      doing,
      path: path ?? error.path,
      dest: dest ?? error.dest,
      args: { ...error.args, ...args },
      hint: action.hint ?? error.hint,
      cause: error,
    });
  }
}
