import { type IdMaps, type Launched, type LaunchOptions, launch, type Step } from '@ns/launch';

/** Maps that everybody may write: root inside is the caller outside. */
const ownIdMaps = (): IdMaps => ({
  uids: [{ container: 0, host: process.geteuid!(), size: 1 }],
  gids: [{ container: 0, host: process.getegid!(), size: 1 }],
  denySetgroups: true,
});

// It cannot be found, so that nothing runs: to get as far as here is all a trial asks.
const end: Step = { op: 'exec', candidates: ['/proc/self/no such program'], argv: ['none'], env: [] };

/**
 * Executes steps in a process of its own, for nothing but to see whether the kernel lets them pass.
 *
 * @param options.whileRunning - called when the process exists
 * @throws SyscallError of the step that did not
 */
export async function attempt(
  steps: readonly Step[],
  options: Pick<LaunchOptions, 'fds'> & { readonly whileRunning?: (launched: Launched) => Promise<void> } = {},
): Promise<void> {
  const { fds = {}, whileRunning } = options;
  const launched = launch({ steps: [...steps, end], stdio: ['null', 'null', 'null'], fds });
  const [{ failure }] = await Promise.all([launched.exited, whileRunning?.(launched)]);
  if (failure && failure.step?.op !== 'exec') throw failure;
}

/** What a process in new namespaces tries. */
export interface NamespacedAttempt extends Pick<LaunchOptions, 'fds'> {
  readonly namespaces?: Extract<Step, { op: 'clone' }>['namespaces'];
  /** Name of a cgroup's descriptor. */
  readonly intoCgroup?: string;
  readonly child?: readonly Step[];
  /** An ordinary user gets a user namespace anyway, without which there are no others. */
  readonly userNamespace?: 'always' | 'if needed';
}

/** The same for a child process in new namespaces. */
export function attemptInside(options: NamespacedAttempt): Promise<void> {
  const { namespaces = [], child = [], intoCgroup, userNamespace = 'if needed', fds = {} } = options;
  const withMaps = userNamespace === 'always' || process.geteuid!() !== 0;
  const clone: Step = {
    op: 'clone',
    supervisor: 'monitor',
    namespaces,
    ...(intoCgroup !== undefined && { intoCgroup }),
    ...(withMaps && { idMaps: ownIdMaps() }),
    child: [...child, end],
  };
  return attempt([clone], { fds });
}
