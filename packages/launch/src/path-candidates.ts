/**
 * The `candidates` of an `exec` step, as execvp(3) has them: the program itself when it has a slash, else below each
 * directory of `PATH`, of which an empty one is the working directory.
 *
 * @example
 * ```ts
 * const candidates = candidatesFor('sh', '/usr/bin:/bin'); // ['/usr/bin/sh', '/bin/sh']
 * ```
 */
export function candidatesFor(program: string, path: string): string[] {
  if (program.includes('/')) return [program];
  return path.split(':').map((directory) => `${directory || '.'}/${program}`);
}
