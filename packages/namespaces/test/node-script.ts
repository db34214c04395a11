import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

const cache = fileURLToPath(new URL('../../../node_modules/.cache', import.meta.url));

/** How a script ended, and what it printed. */
export interface ScriptResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A file of `scripts/` that runs in Node processes of its own. */
export class NodeScript implements Disposable {
  readonly #directory: string;
  /** The bundled script. */
  readonly file: string;

  constructor(name: string) {
    mkdirSync(cache, { recursive: true });
    // Inside the repository, so that koffi is found from there.
    this.#directory = mkdtempSync(join(cache, 'namespaces-test-'));
    chmodSync(this.#directory, 0o755);
    this.file = join(this.#directory, `${name}.mjs`);
    const esbuild = createRequire(import.meta.url).resolve('esbuild/bin/esbuild');
    const source = fileURLToPath(new URL(`scripts/${name}.ts`, import.meta.url));
    const options = [
      'bundle',
      'platform=node',
      'format=esm',
      'target=node20',
      'external:koffi',
      'external:execa',
      'conditions=@ns/source',
      'log-level=error',
    ];
    execFileSync(esbuild, [source, `--outfile=${this.file}`, ...options.map((option) => `--${option}`)]);
  }

  /** Runs it to its end, without core dumps. */
  async run(
    args: readonly string[],
    options: {
      uid?: number;
      gid?: number;
      whenPrinted?: (child: ChildProcessByStdio<Writable, Readable, Readable>) => void;
    } = {},
  ): Promise<ScriptResult> {
    const { NODE_OPTIONS, NODE_EXTRA_CA_CERTS, ...env } = process.env;
    const { whenPrinted, ...credentials } = options;
    const shell = ['-c', 'ulimit -c 0; exec "$@"', 'sh', process.execPath, this.file, ...args];
    const child = spawn('sh', shell, { stdio: ['pipe', 'pipe', 'pipe'], env, cwd: '/', ...credentials });
    if (whenPrinted) child.stdout.once('data', () => whenPrinted(child));
    const ended = new Promise<Pick<ScriptResult, 'exitCode' | 'signal'>>((resolve) => {
      child.once('close', (exitCode, signal) => resolve({ exitCode, signal }));
    });
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return { ...(await ended), stdout, stderr };
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
