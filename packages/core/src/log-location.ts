import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseSize } from '@ns/cgroups';
import { outputTimesPath } from '@ns/launch';
import { makeDirectories, SpecError } from '@ns/libc';
import { isDetachable } from './detachment.ts';
import { containerDirectory } from './state-root.ts';
import type { ContainerSpec } from './types.ts';

/** How the output of a container is kept in files: Docker's `--log-driver` and `--log-opt`. */
export interface LogSpec {
  /**
   * `json`: one file `output.jsonl` with an object for each piece as it was read, in Docker's form: `log`, which may be several
   * lines or a part of one, `stream` and `time`; output that is no UTF-8 is `base64` instead of `log`. `raw`: the bytes as they came, in `stdout.log` and `stderr.log`, with the times beside
   * them in `*.times`. Default `json`; with `lifetime: { dieWithParent: false }` `raw`, the only one for which no Node
   * process is needed.
   */
  readonly format?: 'json' | 'raw';
  /** A file that has reached this size is followed by a new one. At least 64 KiB. Default 10 MiB. */
  readonly maxSize?: number | string;
  /** How many files there are of one kind, the newest included; older ones are gone. Default 3. */
  readonly maxFiles?: number;
  /**
   * Where they are, made when it is missing; they outlive the container, and are no other's until it has ended
   * (`ERR_NS_IN_USE`). Default, and for forks: the container's state directory, which goes with it.
   */
  readonly directory?: string;
}

/** Where the output of a container is kept, with everything decided. */
export interface LogLocation {
  readonly directory: string;
  readonly format: 'json' | 'raw';
  readonly maxBytes: number;
  readonly maxFiles: number;
}

/** Where the output of a container is kept; undefined when it is only in memory. */
export function locateLog(id: string, spec: Pick<ContainerSpec, 'log' | 'lifetime'>): LogLocation | undefined {
  const detachable = isDetachable(spec);
  if (!spec.log && !detachable) return undefined;
  const { format = detachable ? 'raw' : 'json', maxSize = '10MiB', maxFiles = 3, directory } = spec.log ?? {};
  return {
    directory: directory ?? containerDirectory(id),
    format,
    maxBytes: parseSize(maxSize, 'log.maxSize'),
    maxFiles,
  };
}

/**
 * Makes the directory when it is missing, for its owner's eyes only.
 *
 * @throws SpecError there can be no files in it
 */
export function makeLogDirectory({ log }: Pick<ContainerSpec, 'log'>): void {
  if (log?.directory === undefined) return;
  try {
    makeDirectories(log.directory, 0o700);
    accessSync(`${log.directory}/.`, constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SpecError('log.directory', `a directory to write to, not ${code}`, log.directory);
  }
}

/** The newest file of one stream, or of both. */
export function logPath({ directory, format }: LogLocation, stream: 'stdout' | 'stderr'): string {
  return join(directory, format === 'json' ? 'output.jsonl' : `${stream}.log`);
}

/** The n-th file before the newest. */
export function rotatedPath(path: string, index: number): string {
  return index === 0 ? path : `${path}.${index}`;
}

/** Was anything ever written? */
export function hasOutput(id: string, spec: Pick<ContainerSpec, 'log' | 'lifetime'>): boolean {
  const location = locateLog(id, spec);
  const sizeOf = (stream: 'stdout' | 'stderr') =>
    location ? (statSync(logPath(location, stream), { throwIfNoEntry: false })?.size ?? 0) : 0;
  return sizeOf('stdout') + sizeOf('stderr') > 0;
}

/** Every file that there may be. */
export function logFilesOf(location: LogLocation): string[] {
  const paths = [...new Set((['stdout', 'stderr'] as const).map((stream) => logPath(location, stream)))];
  const newest = location.format === 'json' ? paths : paths.flatMap((path) => [path, outputTimesPath(path)]);
  return newest.flatMap((path) => [
    `${path}.next`,
    ...Array.from({ length: location.maxFiles }, (_, index) => rotatedPath(path, index)),
  ]);
}
