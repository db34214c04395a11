import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/** How a program ended, and what it printed. */
export interface ProgramResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Who runs a program, and with which variables besides ours. */
export interface ProgramOptions {
  /** A command in front of it, as `unshare --mount`. */
  readonly through?: readonly string[];
  readonly uid?: number;
  readonly gid?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * A program for Node processes of their own, from a file of `programs/` or from its text. It is bundled with the library
 * into a directory that any user of the machine can read: this checkout may be in somebody's home.
 */
export class NodeProgram implements Disposable {
  readonly #directory: string;
  readonly #file: string;

  constructor(name: string, text?: string) {
    this.#directory = mkdtempSync(join(tmpdir(), 'core-test-'));
    chmodSync(this.#directory, 0o755);
    this.#file = join(this.#directory, `${name}.mjs`);
    const { resolve } = createRequire(import.meta.url);
    // Packages in CommonJS ask for Node's modules with require.
    const banner = `import{createRequire}from'node:module';const require=createRequire(import.meta.url);`;
    const options = ['bundle', 'platform=node', 'format=esm', 'target=node20', 'external:koffi', `banner:js=${banner}`];
    const args = [...options, 'conditions=@ns/source', 'log-level=error', `outfile=${this.#file}`];
    execFileSync(
      resolve('esbuild/bin/esbuild'),
      [
        ...(text === undefined ? [fileURLToPath(new URL(`programs/${name}.ts`, import.meta.url))] : ['--loader=ts']),
        ...args.map((option) => `--${option}`),
      ],
      { cwd: dirname(fileURLToPath(import.meta.url)), input: text },
    );
    this.#installKoffi(dirname(resolve('koffi')));
  }

  /** Starts it. */
  start(args: readonly string[] = [], options: ProgramOptions = {}): ChildProcessByStdio<Writable, Readable, Readable> {
    const { NODE_OPTIONS, NODE_EXTRA_CA_CERTS, ...inherited } = process.env;
    const { env, through = [], ...credentials } = options;
    const [program, ...rest] = [...through, process.execPath, this.#file, ...args] as [string, ...string[]];
    return spawn(program, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...inherited, ...env },
      cwd: '/',
      ...credentials,
    });
  }

  /**
   * Starts it, and waits until it has written something.
   *
   * @returns what tells of its end: it rejects with what the program said, when that was its own
   */
  async begin(
    args: readonly string[] = [],
    options: ProgramOptions = {},
  ): Promise<{ child: ChildProcessByStdio<Writable, Readable, Readable>; killed: Promise<void> }> {
    const child = this.start(args, options);
    let said = '';
    child.stderr.on('data', (data) => {
      said += data;
    });
    const killed = once(child, 'close').then(([exitCode]) => {
      if (exitCode !== null) throw new Error(`${args.join(' ')} ended with ${exitCode}: ${said}`);
    });
    killed.catch(() => {});
    await Promise.race([once(child.stdout, 'data'), killed]);
    return { child, killed };
  }

  /** Runs it to its end. */
  async run(args: readonly string[] = [], options: ProgramOptions = {}): Promise<ProgramResult> {
    const child = this.start(args, options);
    child.stdin.end();
    const ended = new Promise<Pick<ProgramResult, 'exitCode' | 'signal'>>((resolve) => {
      child.once('close', (exitCode, signal) => resolve({ exitCode, signal }));
    });
    const [end, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
    return { ...end, stdout, stderr };
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** koffi with the binary of this machine: it is loaded from beside the bundle. */
  #installKoffi(source: string): void {
    const modules = join(this.#directory, 'node_modules');
    const binary = `@koromix/koffi-linux-${process.arch}`;
    cpSync(source, join(modules, 'koffi'), { recursive: true });
    cpSync(join(dirname(source), binary), join(modules, binary), { recursive: true });
  }
}
