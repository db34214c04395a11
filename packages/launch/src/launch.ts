import { memfd, ResourceStack, SOCK, socketPair } from '@ns/libc';
import { Launched } from './launched.ts';
import type { FdLayout, Step } from './lowering.ts';
import { posixSpawn } from './posix-spawn.ts';
import { assembleProgram } from './recent-programs.ts';
import { openStage } from './stage-image.ts';
import { StandardStreams, type Stdio } from './standard-streams.ts';

/** What {@link launch} needs. */
export interface LaunchOptions {
  /** What the new process does, from its first instruction to `exec`. */
  readonly steps: readonly Step[];
  /** stdin, stdout, stderr. Default: null, pipe, pipe. */
  readonly stdio?: readonly [Stdio, Stdio, Stdio] | StandardStreams;
  /** Descriptors that the payload finds as 3, 4, … They stay the caller's. */
  readonly extraFds?: readonly number[];
  /** Descriptors that steps refer to by name. They stay the caller's. */
  readonly fds?: Readonly<Record<string, number>>;
  /**
   * Texts that only this launch has in its steps, such as an id: the longest first, each of one length in all launches.
   * Steps that are otherwise those of a launch before are then not assembled again.
   */
  readonly variables?: readonly string[];
}

/**
 * Starts a process from a list of steps. Returns as soon as the process exists, which takes well under a millisecond;
 * what happens in it is told by the promises and streams of the result.
 *
 * Nothing of the caller leaks into the process but what is named: environment, descriptors, signal dispositions and
 * mask, and session are fresh.
 *
 * @throws SyscallError when no process can be made; what happens later, {@link Launched.exited} reports
 */
export function launch(options: LaunchOptions): Launched {
  const { steps, stdio = ['null', 'pipe', 'pipe'], extraFds = [], fds = {}, variables = [] } = options;
  const layout: FdLayout = { extra: extraFds.length, named: Object.keys(fds) };

  using owned = new ResourceStack();
  const programFd = owned.use(memfd('ns-program', assembleProgram(steps, layout, variables)));
  const [status, stageStatus] = socketPair(SOCK.SEQPACKET);
  owned.use(stageStatus);
  using rollback = new ResourceStack();
  rollback.use(status);
  const streams = stdio instanceof StandardStreams ? stdio : new StandardStreams(stdio);
  owned.defer(() => streams.closeInherited());
  if (streams !== stdio) rollback.defer(() => streams.destroy());

  const inherited = [...streams.inherited, programFd.fd, ...extraFds, stageStatus.fd, ...Object.values(fds)];
  const pid = posixSpawn(owned.use(openStage()).fd, 'ns-init', inherited);
  rollback.release();
  return new Launched(pid, status, streams, { steps, layout });
}
