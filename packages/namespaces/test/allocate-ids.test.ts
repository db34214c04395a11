import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readProcessStat, SpecError } from '@ns/libc';
import { allocateIds, type IdLease, reclaimIds, releaseIds, shareIds } from '@ns/namespaces';
import { eventually } from '@ns/testing';

const pools = { uids: [{ start: 1000, size: 100 }], gids: [{ start: 5000, size: 100 }] };
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ns-ids-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const allocate = (options: Partial<Parameters<typeof allocateIds>[0]> = {}) =>
  allocateIds({ stateDir: directory, size: 10, pools, ...options });

test('ranges are handed out from the lowest, as maps', async () => {
  const [first, second] = [await allocate(), await allocate()];
  expect(`${first.mappings.uids}${first.mappings.gids}`).toBe('0 1000 10\n0 5000 10\n');
  expect(second.uids).toEqual({ start: 1010, size: 10 });
});

test('no range is handed out twice to those who ask at once', async () => {
  const wide = { uids: [{ start: 0, size: 1000 }], gids: [{ start: 0, size: 1000 }] };
  const leases = await Promise.all(Array.from({ length: 100 }, () => allocate({ pools: wide })));
  expect(new Set(leases.map(({ uids }) => uids.start)).size).toBe(100);
  await expect(allocate({ pools: wide })).rejects.toMatchObject({ code: 'ERR_NS_IDS_EXHAUSTED' });
  await leases[42]!.release();
  expect((await allocate({ pools: wide })).uids).toEqual(leases[42]!.uids);
});

test('a released range is free, once', async () => {
  const first = await allocate();
  await first.release();
  const second = await allocate();
  expect(second.uids).toEqual(first.uids);
  await first.release();
  expect(await reclaimIds(directory)).toEqual([second.id]);
});

test('disposing releases', async () => {
  {
    await using lease = await allocate();
    expect(await reclaimIds(directory)).toEqual([lease.id]);
  }
  expect(await reclaimIds(directory)).toEqual([]);
  expect(readdirSync(directory)).toEqual(['lock']);
});

describe('a range that is shared', () => {
  const share = ({ mappings }: IdLease, id: string, options = {}) =>
    shareIds({ stateDir: directory, id, uids: mappings.uids.ranges, gids: mappings.gids.ranges, ...options });

  test('is free when the last has released it', async () => {
    const first = await allocate();
    const second = (await share(first, 'second'))!;
    const third = (await share(second, 'third'))!;
    expect([second.uids, third.gids]).toEqual([first.uids, first.gids]);
    for (const lease of [first, third]) {
      await lease.release();
      await using other = await allocate();
      expect(other.uids).not.toEqual(first.uids);
    }
    await second.release();
    expect((await allocate()).uids).toEqual(first.uids);
  });

  test('may be retaken by each of them, and by nobody else', async () => {
    const first = await allocate();
    const second = (await share(first, 'second'))!;
    await first.retake();
    await second.retake();
    await second.transfer(process.pid);
    await first.retake();
    await first.release();
    await second.retake();
    await second.release();
    const other = await allocate();
    expect(other.uids).toEqual(first.uids);
    await expect(second.retake()).rejects.toMatchObject({ code: 'ERR_NS_IDS_EXHAUSTED' });
  });

  test('is one that somebody has leased, as a whole', async () => {
    const first = await allocate();
    const range = { container: 0, host: first.uids.start, size: 5 };
    expect(await share(first, 'part', { uids: [range] })).toBeUndefined();
    expect(await share(first, 'more', { gids: [range, range] })).toBeUndefined();
    await expect(share(first, first.id)).rejects.toThrow(SpecError);
    await first.release();
    expect(await share(first, 'none')).toBeUndefined();
  });

  test('is freed by the death of those who have it', async () => {
    const owner = spawn('sleep', ['60'], { stdio: 'ignore' });
    const first = await allocate();
    await share(first, 'second', { ownerPid: owner.pid });
    await first.release();
    expect((await allocate()).uids).not.toEqual(first.uids);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    expect((await allocate()).uids).toEqual(first.uids);
  });
});

test('the death of the owner frees the range; until then it is his', async () => {
  const owner = spawn('sleep', ['60'], { stdio: 'ignore' });
  const lease = await allocate({ id: 'c1', ownerPid: owner.pid! });
  expect((await allocate()).uids.start).toBe(1010);
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  expect((await allocate()).uids).toEqual(lease.uids);
});

test('an owner whom nobody waits for frees it by his death all the same', async () => {
  // What sh starts is a child of the sleep it becomes, which never waits.
  const parent = spawn('/bin/sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const ownerPid = Number(line);
  // A shell would.
  expect(await eventually(() => readFileSync(`/proc/${parent.pid}/comm`, 'utf8') === 'sleep\n')).toBe(true);
  await allocate({ id: 'c1', ownerPid });
  process.kill(ownerPid, 'SIGKILL');
  expect(await eventually(() => readProcessStat(ownerPid)?.state === 'Z')).toBe(true);
  expect(await reclaimIds(directory)).toEqual([]);
  parent.kill('SIGKILL');
  await once(parent, 'exit');
});

test('a lease goes over to another owner', async () => {
  const lease = await allocate({ id: 'c1' });
  const owner = spawn('sleep', ['60'], { stdio: 'ignore' });
  await lease.transfer(owner.pid!);
  expect(await reclaimIds(directory)).toEqual(['c1']);
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  expect(await reclaimIds(directory)).toEqual([]);
  await expect(lease.transfer(owner.pid!)).rejects.toMatchObject({ code: 'ESRCH' });
});

test('a name is given once, and frees the range from anywhere', async () => {
  await allocate({ id: 'c1' });
  await expect(allocate({ id: 'c1' })).rejects.toThrow(SpecError);
  expect(await releaseIds(directory, 'c1')).toBe(true);
  expect(await releaseIds(directory, 'c1')).toBe(false);
  await expect(releaseIds(directory, '../c1')).rejects.toThrow(SpecError);
});

test('reserved ids are never handed out', async () => {
  const reserved = { uids: [{ start: 1003, size: 1 }], gids: [] };
  expect(await allocate({ pools: { ...pools, reserved } })).toMatchObject({
    uids: { start: 1004 },
    gids: { start: 5000 },
  } satisfies Partial<Record<keyof IdLease, unknown>>);
});

test('an unreadable lease stops allocation: its range is unknown', async () => {
  writeFileSync(join(directory, 'x.lease'), '{"uids":');
  await expect(allocate()).rejects.toMatchObject({ code: 'ERR_NS_LEASE_CORRUPT' });
});

test('what a crash left half-written is removed', async () => {
  writeFileSync(join(directory, 'x.lease.tmp'), '{"uids":');
  await allocate({ id: 'c1' });
  expect(readdirSync(directory).sort()).toEqual(['c1.lease', 'lock']);
});

test('a directory that others can write, a link, a relative path', async () => {
  const link = `${directory}-link`;
  symlinkSync(directory, link);
  try {
    await expect(allocate({ stateDir: link })).rejects.toMatchObject({ code: expect.stringMatching(/ENOTDIR|ELOOP/) });
  } finally {
    rmSync(link);
  }
  chmodSync(directory, 0o777);
  await expect(allocate()).rejects.toThrow('nobody else can write');
  await expect(allocate({ stateDir: 'relative' })).rejects.toThrow(SpecError);
});

test.each([0, -1, 1.5, 2 ** 32, Number.NaN])('size %p is refused', async (size) => {
  await expect(allocate({ size })).rejects.toThrow(SpecError);
});

test('an ordinary user without a grant is told what to do', async () => {
  await expect(allocate({ pools: { uids: [], gids: [] } })).rejects.toMatchObject({
    code: 'ERR_NS_IDS_EXHAUSTED',
    hint: expect.stringContaining('usermod --add-subuids'),
  });
});
