import { readlinkSync } from 'node:fs';
import { errnoNumber, NsError, SpecError } from '@ns/libc';
import { abiOf, type SeccompArch } from './architectures.ts';
import { readCString, readMemory, writeMemory } from './caller-memory.ts';
import type { FdGift, Notification, NotificationChannel, NotificationReply } from './notification.ts';
import { syscallTable } from './syscall-table.ts';

const PATH_MAX = 4096;
const AT_FDCWD = -100;

/** The process that made a call ended, or a signal ended the call, while a handler worked on it. Code `ERR_NS_SECCOMP_CALLER_GONE`. */
export class CallerGoneError extends NsError {
  constructor(syscall: string, pid: number) {
    super('ERR_NS_SECCOMP_CALLER_GONE', `process ${pid} no longer waits in ${syscall}`, {
      hint: 'Undo what was done for it: nobody hears the answer, and a call that a signal ended comes again',
    });
  }
}

/**
 * A system call of another process, which waits for an answer.
 *
 * **What a pointer points to can change after it was read**: other threads of the caller write to the same memory. An answer that
 * lets the kernel go on (`continue()`) therefore must not depend on a string or struct for safety; do the work yourself on
 * what was read and `return()` its result, or `addFd()`. See seccomp_unotify(2).
 *
 * @example
 * ```ts
 * import type { SeccompHandler } from '@ns/seccomp';
 *
 * const mount: SeccompHandler = (call) => {
 *   const target = call.path(1);
 *   return target.startsWith('/mnt/') ? call.return(0) : call.errno('EPERM');
 * };
 * ```
 */
export class SeccompCall {
  /** The kernel's cookie for this call. */
  readonly id: bigint;
  /** Thread that made the call. */
  readonly pid: number;
  /** Name of the call, `syscall_<nr>` when the tables do not have it. */
  readonly syscall: string;
  /** Its number; x32's with bit 30. */
  readonly nr: number;
  /** The ABI it was made through; `undefined` for one that is not in the tables. */
  readonly arch: SeccompArch | undefined;
  /** The six registers, unsigned. Use {@link int} for arguments of type int. */
  readonly args: readonly bigint[];
  /** Where in the caller it was made. */
  readonly instructionPointer: bigint;
  readonly #channel: NotificationChannel;

  /** @internal Made by {@link SeccompNotifier}. */
  constructor(channel: NotificationChannel, { id, pid, nr, audit, args, instructionPointer }: Notification) {
    this.#channel = channel;
    this.id = id;
    this.pid = pid;
    this.nr = nr;
    this.args = args;
    this.instructionPointer = instructionPointer;
    this.arch = abiOf(audit, nr);
    this.syscall = (this.arch && syscallTable(this.arch).names.get(nr)) ?? `syscall_${nr}`;
  }

  /** Answer: the kernel runs the call as if there were no filter. Since 5.5. Not a safe way to allow what was checked through a pointer. */
  continue(): NotificationReply {
    return { kind: 'continue' };
  }

  /** Answer: the call is not run and returns `value`. */
  return(value: number | bigint): NotificationReply {
    return { kind: 'return', value: BigInt(value) };
  }

  /**
   * Answer: the call is not run and fails.
   *
   * @param error - `'EPERM'`, or its number
   */
  errno(error: string | number): NotificationReply {
    const errno = typeof error === 'number' ? error : errnoNumber(error);
    if (errno === undefined || !Number.isInteger(errno) || errno < 1 || errno > 4095)
      throw new SpecError('errno', 'an errno such as "EPERM"', error);
    return { kind: 'errno', errno };
  }

  /**
   * Answer: the call is not run; a copy of `fd` is put into the caller and its number there returned. Since 5.14. `fd` stays yours.
   *
   * @param options - `newFd`: the number it shall have (what is open there is closed); `closeOnExec`, default true
   * @throws SpecError when `fd` or `newFd` is no number of a descriptor. A descriptor that is not open, or a caller without room for
   *   it, becomes EPERM for the caller and a `handlerError` event with a SyscallError: `EBADF`, `EMFILE`
   */
  addFd(
    fd: number | { readonly fd: number },
    options: { newFd?: number; closeOnExec?: boolean } = {},
  ): NotificationReply {
    return { kind: 'addFd', ...gift(fd, options) };
  }

  /**
   * Puts a copy of `fd` into the caller without answering yet (since 5.9): for calls that return several, such as socketpair.
   *
   * @param options - as those of {@link addFd}
   * @returns its number in the caller
   * @throws CallerGoneError when the caller no longer waits
   * @throws SpecError when `fd` or `newFd` is no number of a descriptor
   * @throws SyscallError `EBADF` when `fd` is not open here or `newFd` too large for the caller, `EMFILE` when the caller has no room
   */
  giveFd(fd: number | { readonly fd: number }, options: { newFd?: number; closeOnExec?: boolean } = {}): number {
    const number = this.#channel.addFd(this.id, gift(fd, options));
    if (number === undefined) throw this.#gone();
    return number;
  }

  /** Whether the caller still waits for the answer. */
  get waiting(): boolean {
    return this.#channel.isWaiting(this.id);
  }

  /** Argument `index` as a C int: the lower 32 bits, with a sign. */
  int(index: number): number {
    return Number(BigInt.asIntN(32, this.#argument(index)));
  }

  /**
   * The bytes argument `index` points to.
   *
   * @returns `length` bytes, fewer where the caller's memory ends before
   * @throws CallerGoneError when the caller no longer waits
   */
  read(index: number, length: number): Buffer {
    return this.readAt(this.#argument(index), length);
  }

  /** The bytes at an address of the caller, for pointers inside structs. As {@link read}. */
  readAt(address: bigint, length: number): Buffer {
    return this.#checked(() => readMemory(this.pid, address, length));
  }

  /**
   * The text argument `index` points to.
   *
   * @param maxBytes - default 4096 (PATH_MAX), the terminating NUL included
   * @throws SpecError when there is no NUL within them, or no memory there
   * @throws CallerGoneError when the caller no longer waits
   */
  readString(index: number, maxBytes = PATH_MAX): string {
    const address = this.#argument(index);
    const text = this.#checked(() => readCString(this.pid, address, maxBytes));
    if (!text) throw new SpecError(`args[${index}]`, `the address of text of less than ${maxBytes} bytes`, address);
    return text.toString();
  }

  /**
   * The path argument `index` names, made absolute by the caller's working directory, or by the directory descriptor in
   * argument `dirFd`. Only text: neither `..` nor links are resolved, and the result is a path of the *caller's* mount namespace and root.
   *
   * @throws SpecError when a directory descriptor names nothing
   */
  path(index: number, dirFd?: number): string {
    const name = this.readString(index);
    if (name.startsWith('/')) return name;
    const fd = dirFd === undefined ? AT_FDCWD : this.int(dirFd);
    const link = fd === AT_FDCWD ? 'cwd' : `fd/${fd}`;
    const base = this.#checked(() => {
      try {
        return readlinkSync(`/proc/${this.pid}/${link}`);
      } catch {
        return undefined;
      }
    });
    if (base === undefined)
      throw new SpecError(`args[${dirFd ?? index}]`, 'an open directory descriptor of the caller', fd);
    return name === '' ? base : `${base === '/' ? '' : base}/${name}`;
  }

  /**
   * Writes where argument `index` points to, for calls with a result behind a pointer.
   *
   * @throws SpecError when the caller has no writable memory there
   * @throws CallerGoneError when the caller no longer waits
   */
  write(index: number, bytes: Uint8Array): void {
    const address = this.#argument(index);
    // Before: a reused pid must not be written to. After: the write counts only if the caller was there.
    if (!this.waiting) throw this.#gone();
    const written = this.#checked(() => writeMemory(this.pid, address, bytes));
    if (written < bytes.length)
      throw new SpecError(`args[${index}]`, `the address of ${bytes.length} writable bytes`, address);
  }

  /** The pid may have been given to another process meanwhile: what was read counts only if the call still waits afterwards. */
  #checked<T>(look: () => T): T {
    let result: T;
    try {
      result = look();
    } catch (error) {
      throw this.waiting ? error : this.#gone();
    }
    if (!this.waiting) throw this.#gone();
    return result;
  }

  #gone(): CallerGoneError {
    return new CallerGoneError(this.syscall, this.pid);
  }

  #argument(index: number): bigint {
    const value = this.args[index];
    if (value === undefined) throw new SpecError('index', 'an argument from 0 to 5', index);
    return value;
  }
}

/** What {@link SeccompCall.addFd} and {@link SeccompCall.giveFd} were asked to give, checked. */
function gift(
  fd: number | { readonly fd: number },
  { newFd, closeOnExec = true }: { newFd?: number; closeOnExec?: boolean },
): FdGift {
  const given = typeof fd === 'number' ? fd : fd.fd;
  for (const [field, number] of Object.entries({ fd: given, newFd: newFd ?? 0 })) {
    if (!Number.isInteger(number) || number < 0 || number > INT_MAX)
      throw new SpecError(field, 'the number of a descriptor', number);
  }
  return { fd: given, newFd, closeOnExec };
}

const INT_MAX = 0x7fffffff;
