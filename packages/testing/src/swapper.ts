import { Worker } from 'node:worker_threads';

/**
 * Another thread that swaps two names of a directory for each other without pause, until it is disposed of: an enemy who races with
 * whatever resolves paths there.
 *
 * @example
 * ```ts
 * await using _enemy = new Swapper('/tmp/root', [['etc', 'link-to-the-host']]);
 * ```
 */
export class Swapper implements AsyncDisposable {
  readonly #worker: Worker;

  /** @param pairs - names in the directory */
  constructor(directory: string, pairs: readonly (readonly [string, string])[]) {
    const code = `
      const { renameSync } = require('node:fs');
      const { join } = require('node:path');
      const { workerData: { directory, pairs }, parentPort } = require('node:worker_threads');
      let stop = false;
      parentPort.on('message', () => { stop = true; });
      const move = (from, to) => {
        // Whoever works there may have removed it.
        try { renameSync(join(directory, from), join(directory, to)); } catch {}
      };
      const spin = () => {
        for (let i = 0; i < 200; i++)
          for (const [a, b] of pairs) {
            move(a, '.x');
            move(b, a);
            move('.x', b);
          }
        if (stop) process.exit(0);
        setImmediate(spin);
      };
      spin();`;
    this.#worker = new Worker(code, { eval: true, workerData: { directory, pairs } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#worker.once('exit', resolve));
    this.#worker.postMessage('stop');
    await ended;
  }
}
