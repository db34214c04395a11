import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLONE, check, SYS, syscall } from '@ns/libc';
import { link } from '@ns/netns';

/**
 * A host of one's own: this test file moves into a new network namespace and state root, so that its bridges, rules and
 * ports are nobody else's, and go away with it.
 */
export function useOwnHost(): { readonly stateRoot: string } {
  const stateRoot = mkdtempSync(join(tmpdir(), 'core-network-'));
  beforeAll(async () => {
    process.env.NS_STATE_ROOT = stateRoot;
    check('unshare', syscall(SYS.unshare, CLONE.NEWNET));
    await link.setUp('lo');
  });
  afterEach(async () => {
    const links = (await link.list())
      .map(({ name }) => name)
      .filter((name) => name.startsWith('nsb') || name.startsWith('nsv'));
    expect(links).toEqual([]);
    for (const directory of ['networks', 'network-options', 'network-owners', 'ipam'])
      expect({ directory, left: filesBelow(join(stateRoot, directory)) }).toEqual({ directory, left: [] });
  });
  afterAll(() => {
    rmSync(stateRoot, { recursive: true, force: true });
  });
  return { stateRoot };
}

function filesBelow(directory: string): string[] {
  try {
    return readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return [];
  }
}
