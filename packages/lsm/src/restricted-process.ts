import { candidatesFor, type Launched, launch, type Stdio, type Step } from '@ns/launch';
import { onlyKnownKeys, SpecError } from '@ns/libc';
import type { ExecLabel } from './exec-label.ts';
import type { LandlockEnforcement } from './landlock/plan.ts';
import { LandlockRuleset } from './landlock/ruleset.ts';
import type { LandlockSpec } from './landlock/spec.ts';

const defaultPath = '/usr/local/bin:/usr/bin:/bin';

/** How {@link spawnRestricted} confines and runs a program. */
export interface RestrictedOptions {
  /** What the program may do. */
  readonly landlock: LandlockSpec;
  /** What the kernel must be able to enforce of it. Default `'named'`. */
  readonly enforce?: LandlockEnforcement;
  /** Run under an AppArmor profile or an SELinux label as well: what `appArmorExecLabel` or `selinuxExecLabel` returns. */
  readonly label?: ExecLabel;
  /** A compiled seccomp filter: an array of struct sock_filter, as `@ns/seccomp` makes it. */
  readonly seccomp?: Uint8Array;
  /** Run as another user, which needs root. Default: the same user, without capabilities. */
  readonly user?: { readonly uid: number; readonly gid: number; readonly groups?: readonly number[] };
  /** The whole environment. Default: only a PATH; nothing of the caller's is passed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** Absolute path. Default "/". */
  readonly cwd?: string;
  /** stdin, stdout, stderr. Default: null, pipe, pipe. */
  readonly stdio?: readonly [Stdio, Stdio, Stdio];
  /** Ends the program after this many milliseconds of wall-clock time. */
  readonly timeout?: number;
  /** Ends the program. */
  readonly signal?: AbortSignal;
}

const optionKeys = [
  'landlock',
  'enforce',
  'label',
  'seccomp',
  'user',
  'env',
  'cwd',
  'stdio',
  'timeout',
  'signal',
] as const satisfies (keyof RestrictedOptions)[];

/**
 * Runs a program that may do only what a Landlock spec allows: a sandbox without namespaces, for hosts that forbid user
 * namespaces and for callers without any privilege. Besides Landlock it has no_new_privs, no capabilities, a session
 * of its own, a fresh environment, no descriptor but its standard streams, and it dies with the caller.
 *
 * It sees the host's processes, mounts and network interfaces; processes it leaves behind are not found and ended, which
 * takes a pid namespace or a cgroup. Needs no privileges. Linux 5.13.
 *
 * @returns when the process exists. A program that cannot be executed shows in `exited`, as `failure`
 * @throws SpecError when an option is wrong
 * @throws UnavailableError when the kernel cannot enforce the spec
 * @throws SyscallError for a path of the spec that does not exist
 * @example
 * ```ts
 * import { text } from 'node:stream/consumers';
 *
 * const child = spawnRestricted('ls', ['/usr'], {
 *   landlock: { files: { execute: ['/usr', '/lib', '/lib64', '/bin'] }, network: {} },
 * });
 * const [output, { exitCode }] = await Promise.all([text(child.stdout!), child.exited]);
 * ```
 */
export function spawnRestricted(command: string, args: readonly string[], options: RestrictedOptions): Launched {
  checkOptions(command, args, options);
  const { signal, stdio } = options;
  signal?.throwIfAborted();
  const { enforce = 'named' } = options;
  using ruleset = LandlockRuleset.create(options.landlock, { enforce });
  const child = launch({
    steps: stepsOf(command, args, options, ruleset),
    ...(stdio ? { stdio } : {}),
    fds: ruleset.fd ? { landlock: ruleset.fd.fd } : {},
  });
  if (signal) {
    const abort = () => child.kill();
    signal.addEventListener('abort', abort, { once: true });
    child.exited.finally(() => signal.removeEventListener('abort', abort));
  }
  return child;
}

function stepsOf(
  command: string,
  args: readonly string[],
  options: RestrictedOptions,
  ruleset: LandlockRuleset,
): Step[] {
  const { user, label, seccomp, cwd = '/', timeout, env = { PATH: defaultPath } } = options;
  const program: Step[] = [
    { op: 'dieWithParent' },
    { op: 'newSession' },
    ...(user ? [{ op: 'credentials', groups: [], ...user } as const] : []),
    // Before Landlock, which the working directory does not have to be readable under.
    { op: 'workingDirectory', path: cwd, create: false },
    // Before no_new_privs, under which a process that has a profile cannot leave it for any other.
    ...(label ? [{ op: 'execLabel', ...label } as const] : []),
    // Under no_new_privs root does not get capabilities back by executing a program.
    { op: 'capabilities', permitted: 0n, effective: 0n },
    { op: 'noNewPrivileges' },
    ...(ruleset.fd ? [{ op: 'landlock', ruleset: 'landlock', flags: ruleset.restrictFlags } as const] : []),
    { op: 'closeFds' },
    { op: 'unblockSignals' },
    // Last: the filter may refuse what the steps above need.
    ...(seccomp ? [{ op: 'seccomp', filter: seccomp, flags: 0 } as const] : []),
    {
      op: 'exec',
      candidates: candidatesFor(command, env.PATH ?? defaultPath),
      argv: [command, ...args],
      env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    },
  ];
  const watch = { op: 'clone', supervisor: 'monitor', namespaces: [], child: program } as const;
  return [
    { op: 'dieWithParent', parent: process.pid },
    timeout === undefined ? watch : { ...watch, timeoutMs: timeout },
  ];
}

function checkOptions(command: unknown, args: unknown, options: unknown): void {
  checkText(command, 'command');
  if (command === '') throw new SpecError('command', 'the name or path of a program', command);
  if (!Array.isArray(args)) throw new SpecError('args', 'an array of strings', args);
  for (const [index, argument] of args.entries()) checkText(argument, `args[${index}]`);
  onlyKnownKeys(options, optionKeys, '');
  const { cwd, env = {}, timeout, stdio, signal } = options;
  if (stdio !== undefined && !(Array.isArray(stdio) && stdio.length === 3))
    throw new SpecError('stdio', 'an array of three', stdio);
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new SpecError('signal', 'an AbortSignal', signal);
  if (cwd !== undefined && !(typeof cwd === 'string' && cwd.startsWith('/')))
    throw new SpecError('cwd', 'an absolute path', cwd);
  if (timeout !== undefined && !(typeof timeout === 'number' && timeout > 0 && timeout < 2 ** 31)) {
    throw new SpecError('timeout', 'milliseconds, more than 0', timeout);
  }
  if (typeof env !== 'object' || env === null) throw new SpecError('env', 'an object of strings', env);
  for (const [name, value] of Object.entries(env)) {
    if (name === '' || name.includes('=')) throw new SpecError('env', "names without '='", name);
    checkText(name, 'env');
    checkText(value, `env.${name}`);
  }
}

function checkText(value: unknown, field: string): asserts value is string {
  if (typeof value !== 'string' || value.includes('\0')) throw new SpecError(field, 'text without NUL bytes', value);
}
