import { errnoMessage, errnoName } from './errno.ts';
import { hintFor } from './hints.ts';

/** Base of every error this library throws. Match on {@link NsError.code}; it does not change within a major version. */
export class NsError extends Error {
  /** Stable identifier, such as `ERR_NS_CONTAINER_NOT_RUNNING`, or an errno name for a {@link SyscallError}. */
  readonly code: string;
  /** What to do next, when that is known. */
  declare readonly hint?: string;

  /**
   * @param options.hint - the next action: every error has one, so it is empty only where a table knows none for an errno
   */
  constructor(code: string, message: string, options: { hint: string; cause?: unknown }) {
    super(
      message.includes(options.hint) ? message : `${message}. ${options.hint}`,
      'cause' in options ? { cause: options.cause } : undefined,
    );
    this.name = new.target.name;
    this.code = code;
    if (options.hint) this.hint = options.hint;
  }
}

/**
 * More than one thing failed, and none of it is lost. `code` and `hint` are those of the first, which the others follow from, or
 * `ERR_NS_SEVERAL` where that has no code; an AggregateError would have none to match on.
 *
 * @example
 * ```ts
 * function codesOf(error: NsError): string[] {
 *   return error instanceof SeveralErrors ? error.errors.map(String) : [error.code];
 * }
 * ```
 */
export class SeveralErrors extends NsError {
  /** In the order in which they happened. */
  readonly errors: readonly unknown[];

  constructor(errors: readonly unknown[], message: string) {
    const [first] = errors;
    const hint = first instanceof NsError ? first.hint : undefined;
    super(codeOf(first), message, { hint: hint ?? '', cause: first });
    this.errors = errors;
  }
}

/** Node's own errors have one, too. */
function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' ? code : 'ERR_NS_SEVERAL';
}

/** Where in a container's setup a system call failed. */
export interface FailedStep {
  /** Position, from 1. */
  readonly number: number;
  /** How many steps the plan has. */
  readonly of: number;
  /** The step's `op`. */
  readonly op: string;
}

/** What a {@link SyscallError} knows besides the errno. */
export interface SyscallContext {
  readonly path?: string | undefined;
  readonly dest?: string | undefined;
  /** Decoded arguments: flags by name, strings as text. */
  readonly args?: Readonly<Record<string, unknown>> | undefined;
  readonly step?: FailedStep | undefined;
  /** What was being done, in words; the message begins with it. */
  readonly doing?: string | undefined;
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/** A system call that failed, in the shape of Node's own errors: `code` is the errno's name, `errno` is negative. */
export class SyscallError extends NsError {
  /** Negated errno. */
  readonly errno: number;
  readonly syscall: string;
  declare readonly path?: string;
  declare readonly dest?: string;
  declare readonly args?: Readonly<Record<string, unknown>>;
  declare readonly step?: FailedStep;

  /**
   * @param syscall - name of the call
   * @param errno - of either sign
   */
  constructor(syscall: string, errno: number, context: SyscallContext = {}) {
    const { path, dest, args, step, doing } = context;
    const subject = doing ?? [syscall, path && `'${path}'`, dest && `-> '${dest}'`].filter(Boolean).join(' ');
    const where = step
      ? ` (step ${step.number} of ${step.of}, ${step.op}${doing ? `: ${syscall}` : ''})`
      : doing
        ? ` (${syscall})`
        : '';
    const hint = context.hint ?? hintFor(syscall, errnoName(errno), { op: step?.op, path }) ?? '';
    super(errnoName(errno), `${subject}: ${errnoName(errno)} ${errnoMessage(errno)}${where}`, {
      hint,
      ...('cause' in context ? { cause: context.cause } : {}),
    });
    this.errno = -Math.abs(errno);
    this.syscall = syscall;
    if (path !== undefined) this.path = path;
    if (dest !== undefined) this.dest = dest;
    if (args !== undefined) this.args = args;
    if (step !== undefined) this.step = step;
  }
}

/** Input that cannot be right, found before anything was done. Code `ERR_NS_INVALID_SPEC`. */
export class SpecError extends NsError {
  /** Path of the field, `limits.memory`. */
  readonly field: string;
  /** What would have been accepted. */
  readonly expected: string;
  readonly received: unknown;
  /** What to do next. The message ends with it only when it says more than {@link SpecError.expected}. */
  declare readonly hint: string;
  readonly #hint: string | undefined;

  /**
   * @param field - path of the field, `limits.memory`
   * @param expected - what would have been accepted, as an object of "set it to"
   * @param received - what was found; the message tells its kind and the beginning of texts
   * @param hint - the next action, when `expected` does not say it all
   */
  constructor(field: string, expected: string, received: unknown, hint?: string) {
    super('ERR_NS_INVALID_SPEC', `${field}: expected ${expected}, received ${describe(received)}`, {
      hint: hint ?? '',
    });
    this.field = field;
    this.expected = expected;
    this.received = received;
    this.hint = hint ?? `Set ${field || 'it'} to ${expected}`;
    this.#hint = hint;
  }

  /** The same error about a field that the caller knows by another path. */
  at(field: string): SpecError {
    return new SpecError(field, this.expected, this.received, this.#hint);
  }
}

/** Something this kernel, machine or user cannot do. Code `ERR_NS_UNAVAILABLE`. */
export class UnavailableError extends NsError {
  /** What was asked for, `cgroup controller io`. */
  readonly feature: string;
  readonly #why: string;
  readonly #fix: string;

  /**
   * @param feature - what was asked for
   * @param why - what is missing
   * @param fix - the next action
   */
  constructor(feature: string, why: string, fix: string) {
    super('ERR_NS_UNAVAILABLE', `${feature} is not available here: ${why}`, { hint: fix });
    this.feature = feature;
    this.#why = why;
    this.#fix = fix;
  }

  /** The same error about something that the caller knows by another name. */
  at(feature: string): UnavailableError {
    return new UnavailableError(feature, this.#why, this.#fix);
  }
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) {
    return Array.isArray(value)
      ? `an array of ${value.length}`
      : `an object with keys ${Object.keys(value).join(', ') || '(none)'}`;
  }
  return String(value);
}

/** Whether something that was thrown, by Node or by this library, has one of these codes: `ENOENT`, `ERR_NS_NO_SUCH_VOLUME`. */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  const code = (error as { code?: string } | null | undefined)?.code;
  return code !== undefined && codes.includes(code);
}

/** Returns a result that is not an error, throws a {@link SyscallError} for a negated errno. */
export function check(name: string, result: number, context?: SyscallContext): number {
  if (result < 0) throw new SyscallError(name, result, context);
  return result;
}
