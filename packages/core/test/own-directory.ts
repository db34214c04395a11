import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A directory for the tests of a file, which a container's own ids may enter, with the state root in it. No mount below it may be
 * left in the host's namespace.
 */
export function useOwnDirectory(name: string): string {
  const previous = process.env.NS_STATE_ROOT;
  const dir = mkdtempSync(join(tmpdir(), `ns-${name}-`));
  chmodSync(dir, 0o755);
  beforeAll(() => {
    process.env.NS_STATE_ROOT = join(dir, 'state');
  });
  afterAll(() => {
    if (previous === undefined) delete process.env.NS_STATE_ROOT;
    else process.env.NS_STATE_ROOT = previous;
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir);
    rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}
