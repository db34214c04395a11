import { readFileSync } from 'node:fs';
import { launch, type NamespaceKind } from '@ns/launch';
import { NsError, type OwnedFd, onlyKnownKeys, pidfdOpen, SpecError, UnavailableError } from '@ns/libc';
import { type EnterUser, enterPlan } from './enter-plan.ts';
import { EnteredProcess } from './entered-process.ts';
import { IdMap } from './id-map.ts';
import { type NamespaceKindName, namespaceKind, namespaceKinds } from './kinds.ts';
import { Namespace } from './namespace.ts';
import { pidOf } from './open-namespace.ts';

/** Whose namespaces, and which of them. */
export interface EnterTarget {
  /** A process: its pid, or a pidfd, which stays the caller's and cannot come to mean another process. */
  readonly target: number | { readonly pid: number } | { readonly pidfd: number };
  /** `'all'` that the process has and we have not, or these. */
  readonly namespaces: 'all' | readonly NamespaceKindName[];
}

/** Options of {@link enter}. */
export interface EnterOptions {
  /** The whole environment. Default: `PATH` alone, because what is in ours is not for the processes there. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory there. Default: `/` with a mnt namespace, else ours. */
  readonly cwd?: string;
  /** Default: root of the user namespace when one is joined (and maps it), else who we are. */
  readonly user?: EnterUser;
  /** `'null'` (default), a stream that stays open (`'pipe'`), or what the program shall read. */
  readonly stdin?: 'null' | 'pipe' | { readonly content: string | Uint8Array };
  /** Ends the program by SIGKILL after so many milliseconds. Default: never. */
  readonly timeout?: number;
  /** Ends the program by SIGKILL. */
  readonly signal?: AbortSignal;
  /** How much of stdout and stderr together the result keeps; at more the program is ended. Default 16 MiB. */
  readonly maxOutputBytes?: number;
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const DEFAULT_MAX_OUTPUT = 16 * 1024 * 1024;

/**
 * Runs a program in namespaces of another process: what nsenter(1) does, without it. The program gets nothing of ours but its
 * standard streams, dies with us, and is found by its pid there when a pid namespace is among those joined.
 *
 * Needs CAP_SYS_ADMIN over each namespace, and PTRACE_MODE_READ over the process. Since 5.8 (setns of a pidfd). Without a user
 * namespace to join, the program has all our privileges in there; it is no sandbox.
 *
 * @throws SpecError for a malformed target, kind or option
 * @throws SyscallError `ESRCH` when there is no such process; what fails later rejects the result
 *
 * @example
 * ```ts
 * const { stdout } = await enter({ target: pid, namespaces: ['net'] }, 'ip', ['-brief', 'link']);
 * ```
 */
export function enter(
  where: EnterTarget,
  command: string,
  args?: readonly string[],
  options?: EnterOptions,
): EnteredProcess;
export function enter(where: EnterTarget, argv: readonly [string, ...string[]], options?: EnterOptions): EnteredProcess;
export function enter(
  where: EnterTarget,
  command: string | readonly [string, ...string[]],
  second: readonly string[] | EnterOptions = [],
  third: EnterOptions = {},
): EnteredProcess {
  const [argv, options] =
    typeof command === 'string' ? [[command, ...asList(second)], third] : [command, asOptions(second)];
  checkCommand(argv);
  checkOptions(options);
  onlyKnownKeys(where, ['target', 'namespaces'], 'target');
  options.signal?.throwIfAborted();

  using pidfd = openTarget(where.target);
  const namespaces = namespacesToJoin(where.namespaces, pidfd.fd);
  const steps = enterPlan({
    namespaces,
    argv,
    user: options.user ?? (namespaces.includes('user') ? rootOf(pidOf(pidfd.fd)) : undefined),
    cwd: options.cwd,
    env: options.env ?? { PATH: DEFAULT_PATH },
    timeoutMs: options.timeout,
  });
  const { stdin = 'null', signal, maxOutputBytes = DEFAULT_MAX_OUTPUT } = options;
  const launched = launch({
    steps,
    stdio: [stdin === 'null' ? 'null' : 'pipe', 'pipe', 'pipe'],
    fds: { target: pidfd.fd },
  });
  if (typeof stdin === 'object') launched.stdin!.end(stdin.content);
  return new EnteredProcess(launched, { signal, maxOutputBytes });
}

const asList = (value: readonly string[] | EnterOptions): readonly string[] => {
  if (Array.isArray(value)) return value as readonly string[];
  throw new SpecError('args', 'an array of strings', value);
};

const asOptions = (value: readonly string[] | EnterOptions): EnterOptions =>
  Array.isArray(value) ? {} : (value as EnterOptions);

function checkCommand(argv: readonly string[]): void {
  if (!argv[0] || argv.some((argument) => !isText(argument)))
    throw new SpecError('command', 'a program and its arguments, text without NUL bytes', argv);
}

function checkOptions(options: EnterOptions): void {
  onlyKnownKeys(options, ['env', 'cwd', 'user', 'stdin', 'timeout', 'signal', 'maxOutputBytes'], '');
  const { cwd, env = {}, user, stdin = 'null', signal } = options;
  if (cwd !== undefined && !(isText(cwd) && cwd.startsWith('/'))) throw new SpecError('cwd', 'an absolute path', cwd);
  const environment: unknown = env;
  if (typeof environment !== 'object' || environment === null || Array.isArray(environment))
    throw new SpecError('env', 'an object of strings', environment);
  for (const [name, value] of Object.entries(env)) {
    if (name === '' || name.includes('=') || !isText(name)) throw new SpecError('env', "names without '='", name);
    if (!isText(value)) throw new SpecError(`env.${name}`, 'text without NUL bytes', value);
  }
  if (user !== undefined) checkUser(user);
  if (stdin !== 'null' && stdin !== 'pipe' && !isContent((stdin as { content?: unknown } | null)?.content))
    throw new SpecError('stdin', "'null', 'pipe' or { content }", stdin);
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new SpecError('signal', 'an AbortSignal', signal);
  for (const name of ['timeout', 'maxOutputBytes'] as const) {
    const value = options[name];
    if (value !== undefined && !(Number.isFinite(value) && value > 0))
      throw new SpecError(name, 'a positive number', value);
  }
}

function checkUser(user: unknown): void {
  onlyKnownKeys(user, ['uid', 'gid', 'groups'], 'user');
  const { uid, gid, groups = [] } = user;
  if (!Array.isArray(groups)) throw new SpecError('user.groups', 'an array of ids', groups);
  for (const [field, id] of Object.entries({ uid, gid, ...groups }))
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= 0xffffffff)
      throw new SpecError(/\d/.test(field) ? `user.groups[${field}]` : `user.${field}`, 'an id, 0 to 4294967294', id);
}

const isText = (value: unknown): value is string => typeof value === 'string' && !value.includes('\0');

const isContent = (value: unknown) => typeof value === 'string' || value instanceof Uint8Array;

/** A pidfd of our own, whichever way the process was named. */
function openTarget(target: EnterTarget['target']): OwnedFd {
  const named = typeof target === 'number' ? { pid: target } : target;
  if (named && 'pidfd' in named && Number.isInteger(named.pidfd)) return pidfdOpen(pidOf(named.pidfd));
  if (named && 'pid' in named && Number.isInteger(named.pid) && named.pid > 0) return pidfdOpen(named.pid);
  throw new SpecError('target', 'a pid, { pid } or { pidfd }', target);
}

function namespacesToJoin(wanted: EnterTarget['namespaces'], pidfd: number): NamespaceKind[] {
  if (wanted === 'all') return namespaceKinds.filter((kind) => isElsewhere(kind, pidfd, 'skip'));
  if (!Array.isArray(wanted)) throw new SpecError('namespaces', "'all' or an array of kinds", wanted);
  const kinds = new Set(wanted.map((kind, index) => namespaceKind(kind, `namespaces[${index}]`)));
  return [...kinds].filter((kind) => isElsewhere(kind, pidfd, 'throw'));
}

/** Whether the process has another namespace of this kind than we. */
function isElsewhere(kind: NamespaceKind, pidfd: number, missing: 'skip' | 'throw'): boolean {
  try {
    using theirs = Namespace.open(kind, { pidfd });
    using ours = Namespace.current(kind);
    return !theirs.equals(ours);
  } catch (error) {
    if (missing === 'skip' && error instanceof UnavailableError) return false;
    throw error;
  }
}

/** Root of a process's user namespace, if it has one. */
function rootOf(pid: number): EnterUser | undefined {
  const [uids, gids] = [IdMap.read(pid, 'uid'), IdMap.read(pid, 'gid')];
  if (uids?.toHost(0) === undefined || gids?.toHost(0) === undefined) return undefined;
  return { uid: 0, gid: 0, ...(mayChangeGroups(pid) && { groups: [] }) };
}

function mayChangeGroups(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/setgroups`, 'latin1').trim() === 'allow';
  } catch (cause) {
    throw new NsError('ERR_NS_PROCESS_GONE', `process ${pid} ended before its namespaces could be entered`, {
      hint: 'Give a process that lives on, or pin what is needed of its namespaces while it does',
      cause,
    });
  }
}
