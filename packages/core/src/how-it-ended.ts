import { SIGNALS } from '@ns/launch';
import type { Result } from './result.ts';

type End = Pick<Result, 'reason' | 'exitCode' | 'signal'>;

/** The hint where there is no other. */
export const outputTells = 'Its output says why';

/** By the signal that ended a program. */
const signalHints: Readonly<Record<string, string>> = {
  SIGKILL: 'Somebody killed it, kill() and stop() included, or this machine had no memory left: its kernel log tells',
  SIGSYS: 'Likely a seccomp filter ended it: learnSeccompProfile() finds what it needs',
  SIGBUS: 'Likely a file in memory had no room to grow: raise shmSize, or the size of its tmpfs',
  SIGXCPU: 'Raise rlimits.cpu',
  SIGXFSZ: 'Raise rlimits.fsize',
  SIGPIPE: 'It wrote where nobody reads any more: read its output to the end',
  SIGSEGV: "It crashed: with rlimits: { core: 'unlimited' } it leaves a core file",
  SIGABRT: 'It gave up by itself: its output says why',
  SIGILL: 'It was likely built for another processor',
};

/** By the exit code, as shells use them. */
const codeHints: Readonly<Record<number, string>> = {
  126: 'Something of it cannot be executed: look at its permissions, its interpreter, and how long its arguments are',
  127: "A command was not found: look at PATH in env, of which nothing is inherited, and at what the rootfs has. Arguments are strings of their own: 'ls', ['-l']; what only a shell understands takes one: 'sh', ['-c', 'ls | wc']",
};

const reasonHints: Readonly<Record<Exclude<Result['reason'], 'exit' | 'signal'>, string>> = {
  timeout: 'Raise its timeout, or leave it out for no limit',
  abort: 'The signal that it was given asked for it',
  oom: 'Raise limits.memory, or let it do with less',
  'output-limit': "Raise maxOutput.bytes, or let onExceed: 'drop-head' keep the end of it",
};

/** What to do about an end that nobody wanted; undefined where only its output can tell. */
export function hintForEnd({ reason, exitCode, signal }: End): string | undefined {
  if (reason !== 'exit' && reason !== 'signal') return reasonHints[reason];
  if (signal !== null) return signalHints[signal] ?? 'Somebody sent it the signal: look there';
  if (exitCode !== null && codeHints[exitCode]) return codeHints[exitCode];
  // What a shell makes of the end of its command.
  const passedOn = Object.entries(SIGNALS).find(([, number]) => number + 128 === exitCode)?.[0];
  return passedOn && `Likely ${passedOn} ended a process of it. ${signalHints[passedOn] ?? outputTells}`;
}

/** How it ended, in words that follow its name. */
export function describeEnd({ reason, exitCode, signal }: End): string {
  const ends: Record<Result['reason'], string> = {
    exit: `exited with code ${exitCode}`,
    signal: `was ended by ${signal}`,
    timeout: 'ran out of time and was killed',
    abort: 'was aborted',
    oom: 'was killed because its memory limit was reached',
    'output-limit': 'wrote more output than allowed and was killed',
  };
  return ends[reason];
}
