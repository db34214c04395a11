import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Container, type ContainerSpec, Wait } from '@ns/core';
import { CLONE, check, SYS, syscall } from '@ns/libc';
import { address, link, NetNamespace } from '@ns/netns';

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
    const links = (await link.list()).map(({ name }) => name).filter((name) => /^ns[bvx]/.test(name));
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

/** Somebody outside, at 198.51.100.2 and .3, to whom this host is 198.51.100.1. */
export async function makeOutside(): Promise<NetNamespace> {
  const outside = await NetNamespace.create();
  await link.createVeth({ name: 'uplink', up: true, peer: { name: 'eth0', netns: outside, up: true } });
  await address.add('uplink', '198.51.100.1/24');
  for (const own of ['198.51.100.2/24', '198.51.100.3/24']) await address.add('eth0', own, { netns: outside });
  return outside;
}

/** A Node program that answers HTTP with a text and the address of who asked. */
export const serverProgram = (text: string, port = 80) =>
  `require('http').createServer((q, r) => r.end('${text} for ' + q.socket.remoteAddress)).listen(${port}, '::', () => console.log('up'))`;

/** A Node program that prints the answer to a request, or the code of the error; `TIMEOUT` when there is none in time. */
export const getProgram = (url: string, family = 0, timeoutMs = 15_000) =>
  `require('http').get('${url}', { timeout: ${timeoutMs}, family: ${family} }, (r) => r.on('data', (d) => process.stdout.write(d))).on('timeout', function () { this.destroy({ code: 'TIMEOUT' }) }).on('error', (e) => console.log(e.code))`;

/** A running HTTP server on port 80. */
export async function serve(text: string, spec: Partial<ContainerSpec>): Promise<Container> {
  const c = await Container.create({
    command: [process.execPath, '-e', serverProgram(text)],
    wait: Wait.log('up'),
    ...spec,
  });
  await c.start();
  return c;
}

/** What a container gets at a URL. */
export async function get(from: Container, url: string, family = 0): Promise<string> {
  return (await from.exec(process.execPath, ['-e', getProgram(url, family)])).stdout.trim();
}

/** A container that does nothing. */
export async function idle(spec: Partial<ContainerSpec>): Promise<Container> {
  const c = await Container.create({ command: ['sleep', 'infinity'], ...spec });
  await c.start();
  return c;
}
