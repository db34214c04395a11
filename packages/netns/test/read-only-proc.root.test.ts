import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { needs, notRoot } from '@ns/testing';

const rootTest = needs(notRoot);

const program = `
import { BridgeNetwork, NetNamespace } from '@ns/netns';
const netns = await NetNamespace.create();
const options = { name: 'web', internal: true, netns, stateRoot: process.argv[1], upstreams: [] };
const { code, hint } = await BridgeNetwork.create(options).catch((error) => error);
console.log(JSON.stringify({ code, hint }));
`;

rootTest('without a writable /proc/sys there is no network, and the error says what to do', async () => {
  const stateRoot = mkdtempSync(join(tmpdir(), 'read-only-'));
  try {
    const readOnly = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"';
    const node = [process.execPath, '--input-type=module', '-e', program, stateRoot];
    const { stdout } = await promisify(execFile)('unshare', ['--mount', 'sh', '-c', readOnly, 'sh', ...node], {
      cwd: import.meta.dirname,
    });
    expect(JSON.parse(stdout)).toEqual({
      code: 'ERR_NS_UNAVAILABLE',
      hint: 'Mount /proc writable for this process, as a privileged container has it',
    });
  } finally {
    rmSync(stateRoot, { recursive: true });
  }
});
