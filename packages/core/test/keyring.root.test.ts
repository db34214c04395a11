import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container, type RunOptions, run } from '../src/index.ts';
import { type LaidBaits, layBaits } from './isolation-baits.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* Keys: a container has a session keyring of its own, which its commands share. Where the filter lets them. */

useOwnStateRoot();
const missing = ['/proc/keys', '/usr/bin/python3'].find((path) => !existsSync(path));
const keyTest = needs(notRoot ?? (missing && `no ${missing}`));
const source = readFileSync(fileURLToPath(new URL('programs/keys.py', import.meta.url)), 'utf8');
const keys = (...operations: string[]) => ['-I', '-c', source, ...operations];
const answers = async (options: RunOptions, ...operations: string[]) =>
  (await run('python3', keys(...operations), options)).stdout.trim().split('\n');

let baits: LaidBaits;
beforeAll(async () => {
  if (!notRoot) baits = await layBaits();
});
afterAll(() => baits?.[Symbol.dispose]());

const unconfined = { seccomp: 'unconfined' } as const;
const toFind = () => ['find', baits.sessionKey, 'session', 'find', baits.userKey, 'user'];

keyTest('with the default filter there are no keys', async () => {
  expect(await answers({}, ...toFind(), 'add', 'x', 'session')).toEqual(['EPERM', 'EPERM', 'EPERM']);
});

keyTest("a session's keys stay the caller's; a user's are of each user namespace", async () => {
  expect(await answers(unconfined, ...toFind())).toEqual(['ENOKEY', 'ok']);
  expect(await answers({ ...unconfined, idMap: 'auto' }, ...toFind())).toEqual(['ENOKEY', 'ENOKEY']);
  // Also where nothing is masked.
  const { stdout } = await run('cat', ['/proc/keys'], { idMap: 'auto', maskedPaths: [] });
  expect(stdout).toContain('_ses.');
  expect(stdout).not.toContain(baits.sessionKey);
  expect(stdout).not.toContain(baits.userKey);
});

for (const idMap of [undefined, 'auto'] as const) {
  keyTest(`commands find keys of the first program, ${idMap ? 'with ids of its own' : 'as root'}`, async () => {
    const spec = { command: ['sleep', '60'], ...unconfined, ...(idMap && { idMap }) };
    await using container = await Container.create(spec);
    await using other = await Container.create(spec);
    await Promise.all([container.start(), other.start()]);
    const exec = async (of: Container, options: { user?: string }, ...operations: string[]) =>
      (await of.exec('python3', keys(...operations), options)).stdout.trim();
    expect(await exec(container, {}, 'add', 'own', 'session')).toBe('ok');
    expect(await exec(container, {}, 'find', 'own', 'session')).toBe('ok');
    expect(await exec(container, { user: '1000' }, 'find', 'own', 'session')).toBe('ok');
    expect(await exec(other, {}, 'find', 'own', 'session')).toBe('ENOKEY');
    const { id } = container;
    const keyrings = () => readFileSync('/proc/keys', 'utf8').split(`_ses.${id}`).length - 1;
    if (!idMap) expect(keyrings()).toBe(1);
    await container.remove({ force: true });
    expect(await eventually(() => keyrings() === 0)).toBe(true);
  });
}

keyTest('where the quota of keys is used up, only one that could use them is not started', async () => {
  using program = new NodeProgram('keys-used-up');
  // No other process has this id.
  const id = 54_319;
  const { stdout, stderr } = await program.run([], { uid: id, gid: id });
  expect(stderr).toBe('');
  const { refusal, ...rest } = JSON.parse(stdout);
  expect(refusal).toMatchObject({ cause: 'EDQUOT', hint: expect.stringContaining('kernel.keys.maxkeys') });
  expect(rest).toMatchObject({ exitCode: 0, seccomp: '2' });
});
