import { type SeccompProfile, SyscallRecorder } from '@ns/seccomp';
import { ContainerProcess } from './container-process.ts';
import type { Result } from './result.ts';
import { startOnce } from './run.ts';
import type { RunOptions } from './types.ts';
import { validateRun } from './validate-spec.ts';

/** What {@link learnSeccompProfile} found out. */
export interface LearntProfile {
  /** Allows what was seen. Plain data, fit for other runtimes too. */
  readonly profile: SeccompProfile;
  /** How often each system call was made. */
  readonly counts: ReadonlyMap<string, number>;
  readonly result: Result;
}

/**
 * Runs a command with every system call let through and noted, and makes the profile it needs. Run all it can do: a call
 * that was not made will not be allowed. Each call takes a turn through this process, so it is slow; nothing is refused,
 * so it is for programs you trust.
 *
 * @example
 * ```ts
 * const { profile } = await learnSeccompProfile(['python3', '-c', 'print(1)']);
 * await run('python3', ['-c', 'print(2)'], { seccomp: profile });
 * ```
 */
export async function learnSeccompProfile(
  argv: readonly [string, ...string[]],
  options: Omit<RunOptions, 'seccomp' | 'onSyscall' | 'encoding'> = {},
): Promise<LearntProfile> {
  const recorder = new SyscallRecorder();
  const spec = validateRun({ ...options, command: argv, seccomp: recorder.learningProfile() });
  const result = await new ContainerProcess<string>(spec, (streams) =>
    startOnce(spec, streams, recorder.notifierOptions()),
  );
  return { profile: recorder.profile(), counts: recorder.counts, result };
}
