import type { ContainerWarning } from './container-warning.ts';

/** What a run used. A figure that the machine does not give is `undefined`, never 0. */
export interface Usage {
  /**
   * CPU time of all its processes that were waited for, in user mode: getrusage(2). What it leaves behind is waited for at its
   * end, not so when all of it is killed (`timeout`, `abort`, SIGKILL): then the cgroup tells, and where there is none that
   * counts, nobody.
   */
  readonly cpuUserMs: number | undefined;
  /** The same in the kernel. */
  readonly cpuSystemMs: number | undefined;
  /** `memory.peak` of the cgroup; without one, or before Linux 5.19, the largest resident set of any one process. */
  readonly memoryPeakBytes: number | undefined;
  /** Read from block devices; what the page cache had is not counted. */
  readonly ioReadBytes: number | undefined;
  /** Written to block devices. */
  readonly ioWriteBytes: number | undefined;
  /** `pids.peak`: the most processes and threads at once. Since Linux 6.1, where `limits.pids` is set. */
  readonly pidsPeak: number | undefined;
}

/** How a command ended. */
export interface Result<Output extends string | Buffer = string> {
  /** 0–255; null when a signal ended it. 127 and 126 as in a shell: not found, not executable. */
  readonly exitCode: number | null;
  /** The one that ended it; null when it exited. Both are null for who found a container whose end only its silent maker knows. */
  readonly signal: NodeJS.Signals | null;
  /** Why it ended: by itself, by a signal, or by a limit of ours. */
  readonly reason: 'exit' | 'signal' | 'timeout' | 'abort' | 'oom' | 'output-limit';
  /** Text, or with `encoding: 'buffer'` a Buffer; with `tty` all output. Empty with `buffer: false`. */
  readonly stdout: Output;
  /** The same of stderr. */
  readonly stderr: Output;
  /** Output was dropped: because of `maxOutput`, or because the files of one that may outlive its maker had no room. */
  readonly truncated: boolean;
  /** Wall-clock time from the call to the end; of a container, from its start. */
  readonly durationMs: number;
  readonly usage: Usage;
  /** What it had to go without. */
  readonly warnings: readonly ContainerWarning[];
}
