import type { RunHandle } from './run-handle.ts';

/**
 * Does something that is worth nothing when the run ends meanwhile: then it is told to stop.
 *
 * @param signal - tells it so for another reason
 */
export function whileItRuns<T>(
  { ended }: Pick<RunHandle, 'ended'>,
  signal: AbortSignal | undefined,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const end = new AbortController();
  void ended.then(() => end.abort());
  return act(signal ? AbortSignal.any([signal, end.signal]) : end.signal);
}
