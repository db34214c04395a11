import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { needs, notRoot } from '@ns/testing';

const program = fileURLToPath(new URL('../dist/web.js', import.meta.url));
const test = needs(notRoot ?? (existsSync(program) ? undefined : 'the examples are not built'));

test('a web server is found by its name and through its port', async () => {
  const stateRoot = mkdtempSync(join(tmpdir(), 'example-web-'));
  try {
    const { NODE_OPTIONS, NODE_EXTRA_CA_CERTS, ...env } = process.env;
    // A network namespace of its own: the bridge and the rules are nobody else's, and go away with it.
    const command = ['--net', 'sh', '-c', 'ip link set lo up; exec "$@"', 'sh', process.execPath, program];
    const { stdout } = await promisify(execFile)('unshare', command, {
      env: { ...env, NS_STATE_ROOT: stateRoot },
      timeout: 60_000,
    });
    expect(stdout).toBe('a container says: hello from shop-web\nthe host says: hello from shop-web\n');
  } finally {
    rmSync(stateRoot, { recursive: true, force: true });
  }
}, 60_000);
