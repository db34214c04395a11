import { NsError, type SyscallError } from '@ns/libc';
import { describeEnd, hintForEnd, outputTells } from './how-it-ended.ts';
import type { Result } from './result.ts';

/** A command whose result is a failure, thrown with `{ check: true }`. It has all fields of the {@link Result}. Code `ERR_NS_PROCESS_FAILED`. */
export class ProcessFailedError<Output extends string | Buffer = string> extends NsError implements Result<Output> {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly reason: Result['reason'];
  readonly stdout: Output;
  readonly stderr: Output;
  readonly truncated: boolean;
  readonly durationMs: number;
  readonly usage: Result['usage'];
  readonly warnings: Result['warnings'];
  /** What to do next, by the way it ended. In the message, where it says more than the output, it stands before that. */
  declare readonly hint: string;

  constructor(command: string, result: Result<Output>) {
    const hint = hintForEnd(result);
    super(
      'ERR_NS_PROCESS_FAILED',
      `${command} ${describeEnd(result)}${hint ? `. ${hint}` : ''}${lastLines(result.stderr)}`,
      {
        hint: '',
      },
    );
    this.hint = hint ?? outputTells;
    this.exitCode = result.exitCode;
    this.signal = result.signal;
    this.reason = result.reason;
    this.stdout = result.stdout;
    this.stderr = result.stderr;
    this.truncated = result.truncated;
    this.durationMs = result.durationMs;
    this.usage = result.usage;
    this.warnings = result.warnings;
  }
}

/** By what has failed: hints in the words of a specification. */
const startHints: Readonly<Record<string, string>> = {
  'execve ENOENT':
    "The program, its script interpreter or its dynamic loader does not exist inside the root. Arguments are strings of their own: ['ls', '-l']",
  'clone3 EAGAIN':
    'A process limit was reached: limits.pids, which counts the init too (allow 2 at least, or make the command the first process with init: false), or sysctl kernel.pid_max, or RLIMIT_NPROC',
  'clone EAGAIN':
    'A process limit was reached: likely limits.pids, by what runs in the container: end some of it, or raise that with update(); else sysctl kernel.pid_max, or RLIMIT_NPROC',
  'faccessat EROFS':
    'The kernel made the root read-only, likely because there is no room where it writes: the disk, its size or quota, or its number of files is used up. Remove what is not needed there, or give it more',
  'wait4 ECHILD':
    'It was killed: by the kernel, when limits.memory is less than the setup takes with the files of mounts, or by somebody',
  EMFILE: 'The setup needs some fifty descriptors: raise the limit of this process (ulimit -Hn)',
};

/** A container that could not be made or started. `cause` is the system call that failed, with its step. Code `ERR_NS_CONTAINER_START`. */
export class ContainerStartError extends NsError {
  /** errno name of the failed call. */
  readonly errnoCode: string;
  /** What a shell would report: 127 when the command was not found, 126 when it cannot be executed. */
  readonly exitCode: number;
  readonly step: SyscallError['step'];
  readonly syscall: string;

  constructor(cause: SyscallError) {
    const command = cause.step?.op === 'exec';
    const code = !command
      ? 'ERR_NS_CONTAINER_START'
      : isNotFound(cause)
        ? 'ERR_NS_COMMAND_NOT_FOUND'
        : 'ERR_NS_COMMAND_NOT_EXECUTABLE';
    // The message of every error ends with its hint; it is not to stand there twice.
    const what = cause.hint === undefined ? cause.message : cause.message.slice(0, -`. ${cause.hint}`.length);
    const hint = startHints[`${cause.syscall} ${cause.code}`] ?? startHints[cause.code] ?? cause.hint ?? '';
    super(code, `the program could not be started: ${what}`, { cause, hint });
    this.errnoCode = cause.code;
    this.exitCode = !command ? 125 : isNotFound(cause) ? 127 : 126;
    this.step = cause.step;
    this.syscall = cause.syscall;
  }
}

const stateHints: Readonly<Record<string, string>> = {
  ERR_NS_CONTAINER_NOT_RUNNING: 'Call start() or restart() first',
  ERR_NS_CONTAINER_PAUSED: 'Call resume() first',
  ERR_NS_CONTAINER_RUNNING: 'Call stop() or kill() first',
  ERR_NS_CONTAINER_STOPPED: 'Call restart()',
  ERR_NS_CONTAINER_REMOVED: 'Create another one',
  ERR_NS_CONTAINER_NOT_FOUND: 'Container.list() has those there are',
  ERR_NS_CONTAINER_NOT_OURS: 'Ask the process that made it, or wait for its end',
};

/** An operation that the container's state does not allow. */
export class ContainerStateError extends NsError {
  readonly status: string;
  constructor(code: `ERR_NS_CONTAINER_${string}`, id: string, status: string, wanted: string, hint?: string) {
    super(code, `container ${id} is ${status}: cannot ${wanted}`, {
      hint: hint ?? stateHints[status === 'removed' ? 'ERR_NS_CONTAINER_REMOVED' : code] ?? '',
    });
    this.status = status;
  }
}

/** What can be read or written once, or only from the beginning. */
export const alreadyIterated = (): NsError =>
  new NsError('ERR_NS_ALREADY_ITERATED', 'the output of a process comes once, and is being read already', {
    hint: 'Await the process for all of its output, or keep what the first loop saw',
  });

/** @param options - `isOfOthers`: it has one, which only the process that made it can write to */
export const noInput = ({ isOfOthers = false } = {}): NsError =>
  new NsError('ERR_NS_NO_STDIN', 'there is no input to write to', {
    hint: isOfOthers
      ? 'Write to it in the process that made the container: only that one can'
      : "Give stdin: 'pipe' or tty: true, or ask a process for its stdin in the turn in which it is made",
  });

/** What a process had of its input is not all: it was ended. */
export const failedInput = (command: string, cause: unknown): NsError =>
  new NsError(
    'ERR_NS_STDIN_FAILED',
    `the input of ${command} failed: ${cause instanceof Error ? cause.message : cause}`,
    {
      hint: 'It was ended: what it made of half of its input is not its output. The cause tells what the stream said',
      cause,
    },
  );

function isNotFound(error: SyscallError): boolean {
  return error.code === 'ENOENT' || error.code === 'ENOTDIR';
}

function lastLines(output: string | Buffer): string {
  const text = output.toString().trimEnd();
  return text === '' ? '' : `:\n${text.slice(-2000)}`;
}
