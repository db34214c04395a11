import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { enter, IdMap, reclaimIds, writeIdMapsDirectly } from '@ns/namespaces';
import { needs, notRoot } from '@ns/testing';
import { elsewhere } from './fixtures.ts';
import { NodeScript } from './node-script.ts';

const test = needs(notRoot);
const ORDINARY = { uid: 54_321, gid: 54_321 };

test('a thread that cannot come back ends the process: nothing more runs in the wrong namespace', async () => {
  using script = new NodeScript('lose-the-way-back');
  const { signal, exitCode, stdout } = await script.run([]);
  expect({ signal, exitCode, stdout }).toEqual({ signal: 'SIGABRT', exitCode: null, stdout: 'capset 0\n' });
});

test('several processes never get the same range, and their death frees all', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'ns-ids-'));
  try {
    using script = new NodeScript('allocate-many');
    let printed = 0;
    const waiting: (() => void)[] = [];
    const results = await Promise.all(
      Array.from({ length: 4 }, () =>
        script.run([directory, '40'], {
          whenPrinted: (child) => {
            // All hold their ranges until the last one has his; they end in the ways that processes do.
            waiting.push(() => (waiting.length % 2 ? child.stdin.end() : child.kill('SIGKILL')));
            if (++printed === 4) while (waiting.length > 0) waiting.pop()!();
          },
        }),
      ),
    );
    const starts = results.flatMap(({ stdout }) => JSON.parse(stdout) as number[]);
    expect(starts).toHaveLength(160);
    expect(new Set(starts).size).toBe(160);
    expect(await reclaimIds(directory)).toEqual([]);
    expect(readdirSync(directory)).toEqual(['lock']);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('an ordinary user: root in a user namespace of his own, and told why of the rest', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'ns-ids-'));
  chownSync(directory, ORDINARY.uid, ORDINARY.gid);
  try {
    using script = new NodeScript('ordinary-user');
    const { stdout, stderr } = await script.run([directory], ORDINARY);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({
      id: ['0', '0'],
      sameNet: true,
      map: [{ container: 0, host: ORDINARY.uid, size: 1 }],
      setgroups: 'deny',
      ownerUid: ORDINARY.uid,
      listed: true,
      openOther: 'EACCES',
      create: 'EPERM',
      pin: 'EPERM',
      rootless: 'ERR_NS_UNAVAILABLE',
      range: 'ERR_NS_IDS_EXHAUSTED',
    });
    expect(existsSync('/tmp/ns-never-pinned')).toBe(false);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('root of a user namespace with few ids hands out those it has', async () => {
  using script = new NodeScript('nested-pools');
  await using child = await elsewhere('--user');
  const ids = IdMap.of([
    { container: 0, host: 100_000, size: 65_536 },
    { container: 65_536, host: 300_000, size: 131_072 },
  ]);
  writeIdMapsDirectly(child.pid, { uids: ids, gids: ids });
  const { stdout, stderr } = await enter({ target: child.pid, namespaces: ['user'] }, process.execPath, [script.file]);
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toMatchObject({
    uids: [{ start: 65_536, size: 131_072 }],
    gids: [{ start: 65_536, size: 131_072 }],
  });
});
