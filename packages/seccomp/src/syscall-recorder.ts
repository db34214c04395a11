import { parseArch, type SeccompArch } from './architectures.ts';
import { lowWordEquals } from './low-word.ts';
import type { ProfileRule, SeccompProfile } from './profile.ts';
import { profiles } from './profiles.ts';
import type { SeccompCall } from './seccomp-call.ts';
import type { NotifierOptions } from './seccomp-notifier.ts';
import { selectArchitectures } from './select-rules.ts';
import { syscallNames } from './syscall-table.ts';
import { validateProfile } from './validate-profile.ts';
import { withNotify } from './with-notify.ts';

/**
 * Calls that are made between installing the filter and handing over its listener, so that nobody could answer them, and those
 * the kernel or libc makes on its own. They are not recorded, and belong to every learnt profile.
 */
const UNOBSERVED = [
  'sendmsg',
  'write',
  'read',
  'close',
  'futex',
  'exit',
  'exit_group',
  'rt_sigreturn',
  'sigreturn',
  'restart_syscall',
] as const;

/** What malloc(3) asks of the kernel depends on the moment: a run that did not need more memory says nothing about the next. */
const ALLOCATION = ['brk', 'madvise', 'mmap', 'mremap', 'munmap'] as const;

/** Whose first argument, an `int` with few values, a learnt profile keeps to the values that were seen. */
const NARROWED: ReadonlySet<string> = new Set(['socket', 'personality']);

/**
 * Learns the profile a workload needs: every call is notified of, noted and let through.
 *
 * @example
 * ```ts
 * export async function learn(start: (filter: Buffer) => Promise<number>) {
 *   const recorder = new SyscallRecorder();
 *   // The workload starts under the filter; what comes back is its listener.
 *   const listener = await start(compile(recorder.learningProfile()));
 *   const notifier = SeccompNotifier.listen(listener, {}, recorder.notifierOptions());
 *   await new Promise((resolve) => notifier.once('end', () => resolve(undefined)));
 *   return recorder.profile();
 * }
 * ```
 */
export class SyscallRecorder {
  readonly #arch: SeccompArch;
  readonly #counts = new Map<string, number>();
  readonly #firstArguments = new Map<string, Set<number>>();
  readonly #architectures = new Set<SeccompArch>();

  /** @param options - `arch`: of the machine, default this one */
  constructor(options: { arch?: string } = {}) {
    this.#arch = parseArch(options.arch ?? process.arch, 'arch');
  }

  /** What to put the workload under: everything is allowed, and notified of first. Calls newer than the tables are allowed unseen. */
  learningProfile(): SeccompProfile {
    const { archMap } = profiles.docker;
    const abis = selectArchitectures(validateProfile({ defaultAction: 'SCMP_ACT_ALLOW', archMap }), this.#arch);
    const observed = new Set(abis.flatMap((abi) => syscallNames(abi)));
    for (const name of UNOBSERVED) observed.delete(name);
    return withNotify({ defaultAction: 'SCMP_ACT_ALLOW', archMap }, [...observed]);
  }

  /** Options for a {@link SeccompNotifier} that has no handlers of its own, or some. */
  notifierOptions(): NotifierOptions {
    return { otherwise: (call) => this.record(call) };
  }

  /** A handler: notes the call and lets it go on. */
  record(call: SeccompCall): ReturnType<SeccompCall['continue']> {
    this.#counts.set(call.syscall, (this.#counts.get(call.syscall) ?? 0) + 1);
    if (call.arch) this.#architectures.add(call.arch);
    if (NARROWED.has(call.syscall)) {
      const seen = this.#firstArguments.get(call.syscall) ?? new Set();
      this.#firstArguments.set(call.syscall, seen.add(call.int(0)));
    }
    return call.continue();
  }

  /** How often each call was made. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** The profile that allows what was seen and refuses the rest with EPERM. Plain data, fit for other runtimes too. */
  profile(): SeccompProfile {
    const plain = [...new Set([...this.#counts.keys(), ...UNOBSERVED, ...ALLOCATION])]
      .filter((name) => !NARROWED.has(name))
      .sort();
    const narrowed = [...this.#firstArguments].flatMap(([name, values]): ProfileRule[] =>
      [...values]
        .sort((a, b) => a - b)
        .map((value) => ({ names: [name], action: 'SCMP_ACT_ALLOW', args: [lowWordEquals(0, value)] })),
    );
    return {
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 1,
      architectures: [...new Set([this.#arch, ...this.#architectures])].map(
        (arch) => `SCMP_ARCH_${arch.toUpperCase()}`,
      ),
      syscalls: [{ names: plain, action: 'SCMP_ACT_ALLOW' }, ...narrowed],
    };
  }
}
