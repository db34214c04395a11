import { types } from 'node:util';
import { errnoNumber } from './errno.ts';
import { NsError, SpecError, SyscallError } from './errors.ts';

/**
 * A file call of Node's on a path that a caller gave: it fails in the errors of this library, with a hint.
 *
 * @param call - returns a value or a promise
 * @throws SyscallError what the kernel refused
 * @throws SpecError a NUL byte in the path
 *
 * @example
 * ```ts
 * import { mkdir } from 'node:fs/promises';
 *
 * await fileCall('/var/lib/app', () => mkdir('/var/lib/app', { recursive: true }));
 * ```
 */
export function fileCall<Result>(path: string, call: () => Result): Result {
  const refuse = (error: unknown): never => {
    throw inOurWords(path, error);
  };
  try {
    const result = call();
    return types.isPromise(result) ? (result.catch(refuse) as Result) : result;
  } catch (error) {
    return refuse(error);
  }
}

function inOurWords(path: string, error: unknown): unknown {
  const { code = '', syscall, path: place = path, dest } = error as NodeJS.ErrnoException & { dest?: string };
  if (code === 'ERR_INVALID_ARG_VALUE') return new SpecError('path', 'text without NUL bytes', path);
  const errno = errnoNumber(code);
  if (error instanceof NsError || syscall === undefined || errno === undefined) return error;
  return new SyscallError(syscall, errno, { path: place, dest, cause: error });
}
