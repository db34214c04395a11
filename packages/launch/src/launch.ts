import { prepareToWatch, SpecError } from '@ns/libc';
import { Inheritance } from './inheritance.ts';
import type { Origin } from './launch-report.ts';
import { Launched } from './launched.ts';
import { assembleProgram, type FdLayout, type Step } from './lowering.ts';
import { PreparedProgram } from './prepared-program.ts';
import { ownProgram, type ProgramFile, SharedProgram } from './program-file.ts';
import { recentProgram } from './recent-programs.ts';
import { StandardStreams, type Stdio } from './standard-streams.ts';

/** What {@link launch} needs. */
export interface LaunchOptions {
  /** What the new process does, from its first instruction to `exec`. */
  readonly steps: readonly Step[] | PreparedProgram;
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
  /**
   * Make the process in this call, by posix_spawn(3). Otherwise the second and later launches of a thread let a helper
   * process do it, where there is a supervisor: that holds this thread for a fraction of the time. What hinders the
   * making of a process is then in {@link Exit.failure}. Default false.
   */
  readonly direct?: boolean;
  /**
   * Take the mounts of the process's new mount namespace apart after its end has been told, not before: quicker, for those
   * who do not need what is mounted there to be free at once. Nothing of it stays, however this process ends.
   */
  readonly unmountLate?: boolean;
}

/**
 * Starts a process from a list of steps. Returns well within a millisecond, when the process exists or was asked for;
 * what happens in it is told by the promises and streams of the result.
 *
 * Nothing of the caller leaks into the process but what is named: environment, descriptors, signal dispositions and
 * mask, and session are fresh.
 *
 * @throws SyscallError when no process can be made; what happens later, {@link Launched.exited} reports
 */
export function launch(options: LaunchOptions): Launched {
  const {
    stdio = ['null', 'pipe', 'pipe'],
    extraFds = [],
    fds = {},
    variables = [],
    direct = false,
    unmountLate = false,
  } = options;
  // Nobody would see to a process that could not be watched.
  prepareToWatch();
  const streams = stdio instanceof StandardStreams ? stdio : new StandardStreams(stdio);
  let inheritance: Inheritance | undefined;
  try {
    const { program, origin } = programOf(options, { extra: extraFds.length, named: Object.keys(fds) }, variables);
    inheritance = new Inheritance(program, streams, extraFds, Object.values(fds));
    // Without a supervisor the process soon is the program, and of that everybody wants to know the pid.
    const supervised = origin.steps.some(({ op }) => op === 'clone');
    const started = (supervised && !direct && inheritance.request()) || inheritance.spawn();
    return new Launched(started, inheritance, streams, origin, { unmountLate });
  } catch (error) {
    inheritance?.[Symbol.dispose]();
    if (streams !== stdio) streams.destroy();
    throw error;
  }
}

function programOf(
  { steps }: LaunchOptions,
  layout: FdLayout,
  variables: readonly string[],
): { program: ProgramFile; origin: Origin } {
  if (!(steps instanceof PreparedProgram)) {
    const program =
      variables.length === 0
        ? ownProgram(assembleProgram(steps, layout))
        : new SharedProgram(recentProgram(steps, layout, variables), variables);
    return { program, origin: { steps, layout, variables } };
  }
  if (!steps.isFor(layout)) {
    const { extra, named } = steps.layout;
    throw new SpecError(
      'fds',
      `descriptors as it was prepared for: ${extra} extra, and ${named.join(', ')}`,
      layout.named,
    );
  }
  const origin = { steps: steps.steps, layout, variables, asLaunched: () => steps.stepsFor(variables) };
  return { program: new SharedProgram(steps, variables), origin };
}
