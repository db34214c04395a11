import { SeveralErrors } from './errors.ts';

/**
 * Rolls back what a piece of work had made before it failed.
 *
 * @returns the error to throw: the one it failed with, or {@link SeveralErrors}: it and that of rolling back
 *
 * @example
 * ```ts
 * async function begin(work: () => Promise<void>, undo: () => Promise<void>): Promise<void> {
 *   try {
 *     await work();
 *   } catch (error) {
 *     throw await rollBack(error, undo);
 *   }
 * }
 * ```
 */
export async function rollBack(error: unknown, undo: () => PromiseLike<unknown>): Promise<unknown> {
  try {
    await undo();
    return error;
  } catch (failure) {
    return new SeveralErrors([error, failure], `${textOf(error)}; rolling back failed, too: ${textOf(failure)}`);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
