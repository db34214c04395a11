import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '@ns/core';
import { CLONE, check, SYS, syscall } from '@ns/libc';
import { installedUserNetworks, route } from '@ns/netns';
import { eventually, needs, notRoot, processEntries, processesInNamespace } from '@ns/testing';
import { makeOutside, useOwnHost } from './network-host.ts';
import { NodeProgram } from './node-program.ts';

const missing =
  notRoot ?? (installedUserNetworks().length > 0 ? undefined : 'neither pasta nor slirp4netns is installed');
const test = needs(missing);
const slirpMissing =
  missing ?? (installedUserNetworks().includes('slirp4netns') ? undefined : 'slirp4netns is not installed');
const { stateRoot } = useOwnHost();

let outside: Awaited<ReturnType<typeof makeOutside>>;
beforeAll(async () => {
  if (missing !== undefined) return;
  outside = await makeOutside();
  // Both programs look for the way out of the host.
  await route.add({ to: 'default', via: '198.51.100.2' });
});
afterAll(() => outside?.close());

for (const idMap of [undefined, 'auto'] as const)
  test(`root has it, too, where he wants it: ids ${idMap ?? 'as they are'}`, async () => {
    const { stdout } = await run('cat', ['/proc/net/route'], { network: 'user', ...(idMap && { idMap }) });
    expect(stdout).toMatch(/^\w+\t00000000\t/m);
  });

/** What root does stays apart from what an ordinary user does below. */
function startAsRoot(
  program: NodeProgram,
  what: string,
): { owner: ReturnType<NodeProgram['start']>; directory: string } {
  const directory = mkdtempSync(join(tmpdir(), 'core-user-network-'));
  const [state, temporary] = ['state', 'tmp'].map((name) => join(directory, name)) as [string, string];
  mkdirSync(temporary);
  return { owner: program.start([what], { env: { NS_STATE_ROOT: state, TMPDIR: temporary } }), directory };
}

needs(slirpMissing)('a container that nobody can start any more has no program that connects it', async () => {
  using program = new NodeProgram('user-network');
  const { owner, directory } = startAsRoot(program, 'make and be killed');
  await once(owner, 'exit');
  const namespace = readlinkSync('/proc/self/ns/net');
  expect(await eventually(() => processesInNamespace('net', namespace).every((pid) => !isSlirp(pid)), 5000)).toBe(true);
  rmSync(directory, { recursive: true });
});

needs(slirpMissing)(
  'killed while a program connects, it leaves nothing in the directory for temporary files',
  async () => {
    using program = new NodeProgram('user-network');
    const { owner, directory } = startAsRoot(program, 'connect');
    const left = () => readdirSync(join(directory, 'tmp'));
    expect(await eventually(() => left().length > 0)).toBe(true);
    owner.kill('SIGKILL');
    expect(await eventually(() => left().length === 0, 5000)).toBe(true);
    rmSync(directory, { recursive: true });
  },
);

test('an ordinary user has the network of the host, and ports', async () => {
  openTunDevice(stateRoot);
  using program = new NodeProgram('user-network');
  const user = 65_534;
  chmodSync(stateRoot, 0o755);
  chownSync(stateRoot, user, user);
  const options = { uid: user, gid: user, env: { NS_STATE_ROOT: stateRoot } };
  const { exitCode, stdout, stderr } = await program.run([], options);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const seen = JSON.parse(stdout);
  expect(seen.stdout).toMatch(/^lo\n\w+\nnameserver 192.0.2.53\n$/);
  expect(seen.port).toMatchObject({ protocol: 'tcp', hostAddress: '127.0.0.1', port: 80 });
  expect(seen.answer).toBe('from inside');
  expect(seen.refused).toMatchObject({ code: 'ERR_NS_UNAVAILABLE', hint: expect.stringContaining("network: 'user'") });

  // Who removes what he left, or only clears up, ends the program that connects it.
  for (const end of ['remove', 'kill and prune']) {
    const { stdout: id } = await program.run(['leave'], options);
    const connecting = connectors().filter(({ parent }) => parent === 1);
    expect(connecting).toHaveLength(1);
    const [port] = JSON.parse((await program.run(['ports', id.trim()], options)).stdout);
    expect(port).toMatchObject({ protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: expect.any(Number), port: 80 });
    expect(await program.run([end, id.trim()], options)).toMatchObject({ exitCode: 0, stderr: '' });
    expect({ end, gone: await eventually(() => !connecting.some(isThere), 5000) }).toEqual({ end, gone: true });
  }

  // Killed, he leaves no program that connects: first with the better one, then as if that were not there.
  const installed = (['pasta', 'slirp4netns'] as const).filter((name) => installedUserNetworks().includes(name));
  for (const name of installed) {
    const owner = program.start(['until killed'], options);
    await once(owner.stdout, 'data');
    const connecting = connectors().filter(({ parent }) => parent === owner.pid);
    expect(connecting).toHaveLength(1);
    owner.kill('SIGKILL');
    expect({ name, gone: await eventually(() => !connecting.some(isThere), 5000) }).toEqual({ name, gone: true });
    if (name !== installed.at(-1)) hideProgram(name);
  }
}, 30_000);

const connectors = () => processEntries().filter(({ name, state }) => /^(pass?ta?|slirp)/.test(name) && state !== 'Z');

const isSlirp = (pid: number) => connectors().some((one) => one.pid === pid && one.name === 'slirp4netns');

const isThere = ({ pid }: { pid: number }) => connectors().some((one) => one.pid === pid);

/** In the mount namespace of our own, too. */
function hideProgram(name: string): void {
  execFileSync('sh', ['-c', `mount --bind /dev/null "$(readlink -f "$(command -v ${name})")"`]);
}

/** In a mount namespace of our own: as most distributions have it, any user may open /dev/net/tun. */
function openTunDevice(directory: string): void {
  check('unshare', syscall(SYS.unshare, CLONE.NEWNS));
  const node = `${directory}/tun`;
  execFileSync('sh', [
    '-c',
    `mount --make-rprivate / && mknod -m 666 ${node} c 10 200 && mount --bind ${node} /dev/net/tun && rm ${node}`,
  ]);
}
