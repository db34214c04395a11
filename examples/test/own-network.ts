import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** The built program of an example. */
export function exampleFile(name: string): string {
  return fileURLToPath(new URL(`../dist/${name}.js`, import.meta.url));
}

/** Why an example cannot be run. */
export function notBuilt(program: string): string | undefined {
  return existsSync(program) ? undefined : 'the examples are not built';
}

/**
 * Runs an example in a network namespace and with a state root of its own: the bridge and the rules are nobody else's,
 * and go away with it.
 *
 * @returns what it printed
 */
export async function runInOwnNetwork(program: string): Promise<string> {
  const stateRoot = mkdtempSync(join(tmpdir(), 'example-'));
  try {
    const { NODE_OPTIONS, NODE_EXTRA_CA_CERTS, ...env } = process.env;
    const command = ['--net', 'sh', '-c', 'ip link set lo up; exec "$@"', 'sh', process.execPath, program];
    const { stdout } = await promisify(execFile)('unshare', command, {
      env: { ...env, NS_STATE_ROOT: stateRoot },
      timeout: 110_000,
    });
    return stdout;
  } finally {
    rmSync(stateRoot, { recursive: true, force: true });
  }
}
