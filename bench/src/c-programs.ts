import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const sources = new URL('../c/', import.meta.url);
const build = new URL('../build/', import.meta.url);

/** Where the benchmarks keep what they make; ignored by git. */
export const buildDirectory: string = fileURLToPath(build);

/** Compiles `bench/c/NAME.c` unless that was done already; the path of the program. */
export function buildProgram(name: string, flags: readonly string[] = []): string {
  const [source, program] = [fileURLToPath(new URL(`${name}.c`, sources)), fileURLToPath(new URL(name, build))];
  const built = statSync(program, { throwIfNoEntry: false });
  if (built && built.mtimeMs > statSync(source).mtimeMs) return program;
  mkdirSync(buildDirectory, { recursive: true });
  execFileSync('gcc', ['-O2', ...flags, '-o', program, source]);
  return program;
}
