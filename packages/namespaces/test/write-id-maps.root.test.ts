import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLONE, check, MS, mount, SYS, syscall } from '@ns/libc';
import {
  IdMap,
  readSubordinateIds,
  readTimeOffsets,
  rootlessIdMappings,
  writeIdMaps,
  writeIdMapsDirectly,
  writeIdMapsWithHelpers,
} from '@ns/namespaces';
import { needs, notRoot } from '@ns/testing';
import { elsewhere } from './fixtures.ts';

const test = needs(notRoot);
const range = (container: number, host: number, size: number) => ({ container, host, size });
const kernelMap = (pid: number, ids: 'uid' | 'gid') =>
  readFileSync(`/proc/${pid}/${ids}_map`, 'latin1')
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number));

test('several ranges are written, and read back through the kernel', async () => {
  await using child = await elsewhere('--user');
  expect(IdMap.read(child.pid, 'uid')).toBeUndefined();
  const maps = { uids: IdMap.of([range(0, 100_000, 1000), range(1000, 0, 1)]), gids: IdMap.single(0, 200_000, 65_536) };
  await writeIdMaps(child.pid, maps);
  expect(kernelMap(child.pid, 'uid')).toEqual([
    [0, 100_000, 1000],
    [1000, 0, 1],
  ]);
  expect(kernelMap(child.pid, 'gid')).toEqual([[0, 200_000, 65_536]]);
  expect(IdMap.read(child.pid, 'uid')).toEqual(maps.uids);
  expect(readFileSync(`/proc/${child.pid}/setgroups`, 'latin1').trim()).toBe('allow');
});

test('340 ranges, which is what the kernel takes at most', async () => {
  await using child = await elsewhere('--user');
  const many = IdMap.of(Array.from({ length: 340 }, (_, i) => range(i, 2 * i, 1)));
  writeIdMapsDirectly(child.pid, { uids: many, gids: many, setgroups: 'deny' });
  expect(kernelMap(child.pid, 'gid')).toHaveLength(340);
  expect(readFileSync(`/proc/${child.pid}/setgroups`, 'latin1').trim()).toBe('deny');
});

test('a map is written once', async () => {
  await using child = await elsewhere('--user');
  const maps = { uids: IdMap.single(0, 0), gids: IdMap.single(0, 0) };
  writeIdMapsDirectly(child.pid, maps);
  expect(() => writeIdMapsDirectly(child.pid, maps)).toThrow(
    expect.objectContaining({ code: 'EPERM', hint: expect.stringContaining('only once') }),
  );
});

test('no process', () => {
  const maps = { uids: IdMap.single(0, 0), gids: IdMap.single(0, 0) };
  expect(() => writeIdMapsDirectly(2 ** 22 + 1, maps)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
});

test('time offsets of a process', async () => {
  await using child = await elsewhere('--time', '--boottime', '86400', '--monotonic', '-1', '--fork');
  expect(readTimeOffsets(child.pid)).toEqual({ monotonicNs: -1_000_000_000n, boottimeNs: 86_400_000_000_000n });
  expect(readTimeOffsets()).toEqual({ monotonicNs: 0n, boottimeNs: 0n });
});

describe('newuidmap and newgidmap', () => {
  let directory: string;
  beforeAll(() => {
    if (notRoot) return;
    directory = mkdtempSync(join(tmpdir(), 'ns-subids-'));
    // In a mount namespace of this test's own process, so that the machine's files stay as they are.
    check('unshare', syscall(SYS.unshare, CLONE.NEWNS));
    mount('none', '/', '', MS.REC | MS.PRIVATE);
    for (const [name, start] of [
      ['subuid', 300_000],
      ['subgid', 400_000],
    ] as const) {
      writeFileSync(join(directory, name), `# granted\nroot:${start}:65536\nnobody:900000:65536\n`);
      mount(join(directory, name), `/etc/${name}`, '', MS.BIND);
    }
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('map what the files grant', async () => {
    await using child = await elsewhere('--user');
    const maps = rootlessIdMappings();
    expect(readSubordinateIds('uid')).toHaveLength(2);
    await writeIdMapsWithHelpers(child.pid, maps);
    expect(kernelMap(child.pid, 'uid')).toEqual([
      [0, 0, 1],
      [1, 300_000, 65_536],
    ]);
    expect(kernelMap(child.pid, 'gid')).toEqual([
      [0, 0, 1],
      [1, 400_000, 65_536],
    ]);
  });

  test('refuse what they do not, in their own words', async () => {
    await using child = await elsewhere('--user');
    const maps = { uids: IdMap.single(0, 900_000, 10), gids: IdMap.single(0, 400_000, 10) };
    await expect(writeIdMapsWithHelpers(child.pid, maps)).rejects.toMatchObject({
      code: 'ERR_NS_ID_MAP_REFUSED',
      message: expect.stringContaining('newuidmap'),
      hint: expect.stringContaining('/etc/subuid'),
    });
  });
});
