import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync } from 'node:fs';
import { Cgroup } from '@ns/cgroups';
import { needs, notRoot } from '@ns/testing';
import { NodeProgram } from './node-program.ts';
import { useOwnDirectory } from './own-directory.ts';

/* Machines and surroundings that are not as most are: everything works there, or says what is missing. */

const test = needs(notRoot);
const directory = useOwnDirectory('odd-hosts');
let program: NodeProgram;
beforeAll(() => {
  program = new NodeProgram('odd-host');
});
afterAll(() => program[Symbol.dispose]());

/** No entry in /etc/passwd has this id. */
const stranger = 54_321;
const asStranger = ['setpriv', `--reuid=${stranger}`, `--regid=${stranger}`, '--clear-groups'];

/** What comes of these on a machine that was prepared by a script, in a mount namespace of its own. */
async function on(script: string, what: readonly string[], through: readonly string[] = []): Promise<unknown> {
  const prepared = ['unshare', '--mount', 'sh', '-ec', `${script}\nexec "$@"`, 'sh'];
  const { stdout, stderr } = await program.run(what, { through: [...prepared, ...through] });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

const unavailable = (message: RegExp, hint: RegExp) => ({
  code: 'ERR_NS_UNAVAILABLE',
  message: expect.stringMatching(message),
  hint: expect.stringMatching(hint),
});

test('who has no directory for state is told how to choose one, and has one-off containers', async () => {
  const nowhere = unavailable(/state is not available here: mkdir '.*': EACCES/, /NS_STATE_ROOT/);
  const everything = { run: 'x\n', container: nowhere, network: nowhere, prune: nowhere };
  const what = Object.keys(everything);
  const without = (...runtime: string[]) => [...asStranger, 'env', '-u', 'NS_STATE_ROOT', ...runtime];
  expect(await on('', what, without('-u', 'XDG_RUNTIME_DIR'))).toMatchObject(everything);
  expect(await on('', what, without('XDG_RUNTIME_DIR=/missing'))).toMatchObject(everything);
  // To be ignored, as the specification of it says.
  for (const runtime of ['', 'relative'])
    expect(await on('', ['container'], without(`XDG_RUNTIME_DIR=${runtime}`))).toMatchObject({
      container: unavailable(new RegExp(`/run/user/${stranger}`), /NS_STATE_ROOT/),
    });
});

test('a state root that is read-only is said to be', async () => {
  const state = `${directory}/read-only`;
  mkdirSync(`${state}/containers`, { recursive: true });
  const readOnly = unavailable(/EROFS read-only file system/, /NS_STATE_ROOT/);
  expect(
    await on(`mount --bind ${state} ${state}; mount -o remount,ro,bind ${state}; export NS_STATE_ROOT=${state}`, [
      'run',
      'container',
      'network',
      'volume',
      'ids of its own',
    ]),
  ).toMatchObject({
    run: 'x\n',
    container: readOnly,
    network: readOnly,
    volume: readOnly,
    'ids of its own': readOnly,
  });
});

test('a state root that is no absolute path is refused', async () => {
  expect(await on('export NS_STATE_ROOT=state', ['container', 'volume', 'prune'])).toEqual(
    Object.fromEntries(
      ['container', 'volume', 'prune'].map((what) => [
        what,
        expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', message: expect.stringContaining('NS_STATE_ROOT') }),
      ]),
    ),
  );
});

test('a state root of somebody else is refused: what is in it says which processes are killed', async () => {
  const his = `${directory}/somebody-else`;
  mkdirSync(his);
  chownSync(his, stranger, stranger);
  expect(await on(`export NS_STATE_ROOT=${his}`, ['container', 'volume', 'prune'])).toEqual(
    Object.fromEntries(
      ['container', 'volume', 'prune'].map((what) => [
        what,
        expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', message: expect.stringContaining(`${stranger}`) }),
      ]),
    ),
  );
});

test('who has no home is told where else volumes could be', async () => {
  const through = [...asStranger, 'env', '-u', 'NS_STATE_ROOT', '-u', 'XDG_DATA_HOME'];
  expect(await on('', ['volume'], [...through, '-u', 'HOME'])).toMatchObject({
    volume: unavailable(/no home directory/, /XDG_DATA_HOME/),
  });
  expect(await on('', ['volume'], [...through, 'HOME=/root/missing'])).toMatchObject({
    volume: unavailable(/\/root\/missing.*EACCES/, /XDG_DATA_HOME/),
  });
});

test('a umask that gives nothing to others keeps no container with ids of its own from its cgroup, nor a user from a volume', async () => {
  expect(await on('umask 077', ['ids of its own', 'volume'])).toEqual({ 'ids of its own': '0\n', volume: '' });
});

test('a working directory that was removed is no obstacle', async () => {
  const removed = `${directory}/removed`;
  // The first network of a network namespace makes its rules with nft.
  expect(
    await on(
      `mkdir ${removed}; cd ${removed}; rmdir ${removed}`,
      ['run', 'container', 'network'],
      ['unshare', '--net'],
    ),
  ).toEqual({ run: 'x\n', container: 'x\n', network: 'made' });
});

test('nft is found where cron and su do not search', async () => {
  const net = ['unshare', '--net', 'env', 'PATH=/usr/bin:/bin'];
  expect(await on('', ['network'], net)).toEqual({ network: 'made' });
});

test('root of a user namespace on the network of the host is refused another one, and lives', async () => {
  const refused = { code: 'EPERM', hint: expect.stringContaining('in the user namespace that owns') };
  const came = await on('', ['network', 'run'], ['unshare', '--user', '--map-root-user']);
  expect(came).toMatchObject({ network: refused, run: { hint: expect.stringContaining('idMap') } });
});

test('an /etc without the usual files is no obstacle', async () => {
  const empty = 'mount -t tmpfs -o mode=755 odd /etc';
  const all = { run: 'x\n', 'read-only': 'x\n' };
  expect(await on(empty, Object.keys(all), asStranger)).toEqual(all);
  // What Docker makes of a file to bind that is missing.
  expect(await on(`${empty}; mkdir /etc/resolv.conf`, [...Object.keys(all), 'container', 'network'])).toEqual({
    ...all,
    container: 'x\n',
    network: 'made',
  });
});

test('a /proc of processes only is named as the reason', async () => {
  expect(await on('mount -t proc -o subset=pid odd /proc', ['run', 'container'])).toMatchObject({
    run: unavailable(/\/proc is not whole/, /subset=pid/),
    container: unavailable(/\/proc is not whole/, /subset=pid/),
  });
});

test('a /proc with covered parts, as in a container, is told to whoever cannot have one of his own', async () => {
  const refused = { code: 'ERR_NS_CONTAINER_START', hint: expect.stringContaining('systempaths=unconfined') };
  expect(await on('mount --bind /dev/null /proc/uptime', ['run'], asStranger)).toMatchObject({ run: refused });
});

test('a user who prunes leaves the cgroups of others to them', async () => {
  const owner = spawn('sleep', ['60']);
  await using cgroup = await Cgroup.create(`ns/odd-${process.pid}`);
  cgroup.setOwner(owner.pid!);
  owner.kill();
  await once(owner, 'exit');
  expect(
    await on(
      `mkdir ${directory}/his; chown ${stranger} ${directory}/his`,
      ['prune'],
      [...asStranger, 'env', `NS_STATE_ROOT=${directory}/his`],
    ),
  ).toEqual({ prune: [] });
  expect(await cgroup.processes()).toEqual([]);
});
