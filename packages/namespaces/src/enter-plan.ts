import { candidatesFor, helperName, type NamespaceKind, type Step } from '@ns/launch';

/** Whom a program runs as. */
export interface EnterUser {
  /** As numbered in the user namespace that is joined, else in ours. */
  readonly uid: number;
  /** The same for the group. */
  readonly gid: number;
  /** Supplementary groups; `undefined` leaves them, where setgroups(2) is denied. */
  readonly groups?: readonly number[];
}

/** What {@link enterPlan} needs. The descriptor `target` is the pidfd of a process in the namespaces. */
export interface EnterDesign {
  /** Those that differ from ours: joining one's own user namespace is an error. */
  readonly namespaces: readonly NamespaceKind[];
  /** `undefined`: who we are. */
  readonly user: EnterUser | undefined;
  /** Absolute; `undefined`: as {@link EnterOptions.cwd} has it. */
  readonly cwd: string | undefined;
  /** The program and its arguments; without a slash it is looked for in the PATH of `env`. */
  readonly argv: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Milliseconds until SIGKILL; `undefined`: never. */
  readonly timeoutMs: number | undefined;
}

/**
 * The steps that run a program in the namespaces of another process.
 *
 * Pure: it touches nothing. What its steps need is what {@link enter} needs.
 *
 * @example
 * ```ts
 * const env = { PATH: '/usr/sbin:/usr/bin' };
 * const user = undefined;
 * const steps = enterPlan({ namespaces: ['net'], argv: ['ip', 'link'], user, cwd: '/', env, timeoutMs: 1000 });
 * ```
 */
export function enterPlan({ namespaces, user, cwd, argv, env, timeoutMs }: EnterDesign): readonly Step[] {
  return [
    { op: 'dieWithParent', parent: process.pid },
    { op: 'newSession' },
    { op: 'processName', name: helperName('ns-enter') },
    // Before the processes there can see this one (CVE-2016-9962).
    { op: 'notDumpable' },
    // All in one call: a user namespace joined first would take the right to join the others, joined last the right to join it.
    ...(namespaces.length > 0 ? [{ op: 'setns', fd: 'target', namespaces } as const] : []),
    {
      // A pid namespace counts for children only, so the program is one.
      op: 'clone',
      supervisor: 'monitor',
      namespaces: [],
      ...(timeoutMs !== undefined && { timeoutMs }),
      child: [
        { op: 'dieWithParent' },
        { op: 'newSession' },
        ...(cwd === undefined ? [] : [{ op: 'workingDirectory', path: cwd, create: false } as const]),
        ...(user ? [{ op: 'credentials', ...user } as const] : []),
        { op: 'closeFds' },
        { op: 'unblockSignals' },
        {
          op: 'exec',
          candidates: candidatesFor(argv[0]!, env.PATH ?? ''),
          argv,
          env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
        },
      ],
    },
  ];
}
