import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** A TypeScript file of the tests as a script that a Node process of its own can run. */
export class NodeScript implements Disposable {
  readonly #directory: string;
  readonly #file: string;

  /** @param name - file in `scripts/`, without extension */
  constructor(name: string) {
    const cache = join(root, 'node_modules/.cache');
    mkdirSync(cache, { recursive: true });
    // Inside the repository, so that koffi is found from there.
    this.#directory = mkdtempSync(join(cache, 'launch-test-'));
    this.#file = join(this.#directory, `${name}.mjs`);
    const source = fileURLToPath(new URL(`scripts/${name}.ts`, import.meta.url));
    const esbuild = createRequire(import.meta.url).resolve('esbuild/bin/esbuild');
    execFileSync(esbuild, [
      source,
      `--outfile=${this.#file}`,
      ...[
        '--bundle',
        '--platform=node',
        '--format=esm',
        '--target=node20',
        '--external:koffi',
        '--conditions=@ns/source',
        '--log-level=error',
      ],
    ]);
  }

  /** Where it is. */
  get file(): string {
    return this.#file;
  }

  /** Starts it; its own errors go to ours. */
  start(args: readonly string[], options: { cwd?: string } = {}): ChildProcessByStdio<Writable, Readable, null> {
    const { NODE_OPTIONS, NODE_EXTRA_CA_CERTS, ...env } = process.env;
    return spawn(process.execPath, [this.#file, ...args], { stdio: ['pipe', 'pipe', 'inherit'], env, ...options });
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
