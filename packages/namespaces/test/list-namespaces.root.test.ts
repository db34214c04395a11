import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listNamespaces, Namespace, namespaceKinds, unpin } from '@ns/namespaces';
import { needs, notRoot } from '@ns/testing';
import { elsewhere, kernelName } from './fixtures.ts';

const test = needs(notRoot);

interface LsnsRow {
  readonly ns: number;
  readonly type: string;
  readonly nprocs: number;
}

test('lsns finds the same namespaces with as many processes', async () => {
  await using some = await elsewhere('--net', '--uts', '--pid', '--fork', '--time');
  await using others = await elsewhere('--user', '--map-root-user', '--mount', '--ipc');
  // Processes come and go on a machine in use, so what differs is looked at again.
  const deadline = performance.now() + 15_000;
  let differences: string[];
  do {
    differences = compareWithLsns();
  } while (differences.length > 0 && performance.now() < deadline);
  expect(differences).toEqual([]);

  const counts = processCounts();
  for (const [pid, kind] of [
    [some.pid, 'pid'],
    [some.pid, 'time'],
    [others.pid, 'user'],
    [others.pid, 'mnt'],
  ] as const) {
    expect(counts.get(kernelName(pid, kind))).toBeGreaterThan(0);
  }
});

/** Namespaces that were the same before and after lsns looked, and that it saw otherwise. */
function compareWithLsns(): string[] {
  const before = processCounts();
  const output = execFileSync('lsns', ['-J', '-o', 'NS,TYPE,NPROCS'], { encoding: 'utf8' });
  const after = processCounts();
  const rows = (JSON.parse(output) as { namespaces: LsnsRow[] }).namespaces.filter(({ nprocs }) => nprocs > 0);
  const lsns = new Map(rows.map(({ ns, type, nprocs }) => [`${type}:[${ns}]`, nprocs]));
  // lsns itself is one more process in each of our namespaces.
  const own = (name: string) => (name === kernelName('self', name.split(':')[0]!) ? 1 : 0);
  const stable = [...before].filter(([name, count]) => after.get(name) === count);
  return [
    ...stable.filter(([name, count]) => lsns.get(name) !== count + own(name)).map(([name]) => name),
    ...[...lsns.keys()].filter((name) => !before.has(name) && !after.has(name)),
  ];
}

function processCounts(): Map<string, number> {
  const list = listNamespaces().filter(({ processes }) => processes.length > 0);
  return new Map(list.map(({ name, processes }) => [name, processes.length]));
}

test('processes, owner and parent are the kernel’s', async () => {
  await using other = await elsewhere('--user', '--map-root-user', '--net');
  const [user, net] = (['user', 'net'] as const).map((kind) =>
    listNamespaces({ kinds: [kind] }).find(({ name }) => name === kernelName(other.pid, kind)),
  );
  expect(user).toMatchObject({ kind: 'user', processes: [other.pid], pins: [] });
  const ours = Number(/\d+/.exec(kernelName('self', 'user'))![0]);
  expect([user?.owner, user?.parent]).toEqual([ours, ours]);
  expect([net?.owner, net?.parent]).toEqual([user?.id.inode, undefined]);
});

test('options that are none are refused by name', () => {
  for (const [options, field] of [
    [null, 'options'],
    [{ kinds: 'net' }, 'kinds'],
    [{ kinds: ['nett'] }, 'kinds[0]'],
  ] as const) {
    expect(() => listNamespaces(options as never)).toThrow(
      expect.objectContaining({ code: 'ERR_NS_INVALID_SPEC', field }),
    );
  }
});

test('a pinned namespace without processes is listed with its path', () => {
  const directory = mkdtempSync(join(tmpdir(), 'ns-pins-'));
  const path = join(directory, 'a net');
  using net = Namespace.create('net');
  net.pin(path);
  try {
    expect(listNamespaces({ kinds: ['network'] }).find(({ name }) => name === net.name)).toMatchObject({
      id: net.id,
      processes: [],
      pins: [path],
    });
  } finally {
    unpin(path);
    rmSync(directory, { recursive: true });
  }
});

test('kinds come in one order', () => {
  const kinds = listNamespaces().map(({ kind }) => namespaceKinds.indexOf(kind));
  expect(kinds).toEqual([...kinds].sort((a, b) => a - b));
  expect(() => listNamespaces({ kinds: ['nett' as never] })).toThrow('kinds[0]');
});
