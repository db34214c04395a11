import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel';

/** What subscribers of {@link containerChannels} get. Node adds `result` and `error`. */
export interface ContainerTrace {
  readonly id: string;
  readonly name: string | undefined;
  /** Of the container; of the exec for `exec`. */
  readonly command: readonly string[];
  /** How an exec or a run has ended, at `asyncEnd`. */
  readonly result?: unknown;
  /** Why it failed, at `error`. */
  readonly error?: unknown;
}

/** Steps of a container's life that are told of. */
export type TracedOperation = 'create' | 'start' | 'exec' | 'exit';

/**
 * Tracing channels of `node:diagnostics_channel`, by operation: `ns:container.create`, `ns:container.start` (until the
 * program runs), `ns:container.exec` (until the command has ended), and `ns:container.exit` (from the program's start to
 * its end). Each has the events `start`, `end`, `asyncStart`, `asyncEnd` and `error`, which become spans without a
 * dependency. They cost nothing while nobody subscribes.
 *
 * @example
 * ```ts
 * containerChannels.exec.start.subscribe((trace) => console.time((trace as { command: string[] }).command.join(' ')));
 * containerChannels.exec.asyncEnd.subscribe((trace) => console.timeEnd((trace as { command: string[] }).command.join(' ')));
 * ```
 */
export const containerChannels: Readonly<Record<TracedOperation, TracingChannel<unknown, ContainerTrace>>> = {
  create: tracingChannel('ns:container.create'),
  start: tracingChannel('ns:container.start'),
  exec: tracingChannel('ns:container.exec'),
  exit: tracingChannel('ns:container.exit'),
};

/** Does something and tells of it. */
export function traced<T>(operation: TracedOperation, trace: ContainerTrace, work: () => Promise<T>): Promise<T> {
  const channel = containerChannels[operation];
  return channel.hasSubscribers ? channel.tracePromise(work, trace) : work();
}

/** Tells of something that goes on by itself; its failure is its owner's to handle. */
export function traceOnly<Process extends PromiseLike<unknown>>(
  operation: TracedOperation,
  trace: ContainerTrace,
  begin: () => Process,
): Process {
  const channel = containerChannels[operation];
  if (!channel.hasSubscribers) return begin();
  let process: Process | undefined;
  const observe = async () => {
    process = begin();
    return process;
  };
  channel.tracePromise(observe, trace).catch(() => {});
  return process!;
}
