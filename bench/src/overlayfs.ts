import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { attachMount, createMount, parseMountinfo, unmountAll } from '@ns/mounts';
import {
  applyChanges,
  applyLayer,
  commit,
  copyTree,
  diffLayer,
  diffStream,
  diffTrees,
  LayerStore,
  mountOverlay,
} from '@ns/overlayfs';
import type { Benchmark, Findings } from './benchmark.ts';
import { median } from './percentiles.ts';

const FILES = 10_000;
const PER_DIRECTORY = 100;
const ROUNDS = 5;

/** 10,000 files changed in an overlay: listed, archived, unpacked, committed and applied, beside tar and rsync. */
export const benchmark: Benchmark = {
  title: 'Layers of 10,000 files',
  async run() {
    const directory = mkdtempSync(join(tmpdir(), 'ns-bench-overlayfs-'));
    // In memory, so that the disk of the machine is not what is measured.
    using memory = createMount({ type: 'tmpfs', options: ['mode=700'] });
    attachMount(memory, directory);
    try {
      return await measure(directory);
    } finally {
      unmountAll(directory);
      rmSync(directory, { recursive: true });
    }
  },
};

interface Contender {
  readonly task: string;
  readonly who: string;
  run(): unknown;
}

async function measure(directory: string): Promise<Findings> {
  const path = (...names: string[]) => join(directory, ...names);
  /** Before each measurement, so that removing what the last one made is not measured. */
  const clear = () => {
    for (const name of ['unpacked', 'copied', 'host', 'copies', 'store']) {
      rmSync(path(name), { recursive: true, force: true });
      mkdirSync(path(name), { recursive: true });
    }
  };
  makeTree(path('lower'), 'old');
  for (const name of ['upper', 'work', 'merged']) mkdirSync(path(name));
  using _mount = mountOverlay({
    lower: [path('lower')],
    upper: path('upper'),
    work: path('work'),
    target: path('merged'),
  });
  makeTree(path('merged'), 'changed');
  execFileSync('tar', ['-cf', path('layer.tar'), '-C', path('upper'), '.']);
  const archive = readFileSync(path('layer.tar'));

  const contenders = contendersIn(path, archive);
  const samples = new Map(contenders.map((contender) => [contender, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const contender of contenders) {
      clear();
      const start = performance.now();
      await contender.run();
      samples.get(contender)!.push(performance.now() - start);
    }
  }
  return {
    tables: [
      {
        title: `${FILES} files in ${FILES / PER_DIRECTORY} directories, all changed; milliseconds, median of ${ROUNDS}`,
        columns: [{ label: 'task' }, { label: 'by' }, { label: 'ms', decimals: 0 }],
        rows: contenders.map((contender) => [contender.task, contender.who, median(samples.get(contender)!)]),
      },
      mountinfoTable(),
    ],
    targets: limits.map(([task, what]) => ({ what, limit: 1.5, measured: ratio(samples, contenders, task) })),
    notes: [
      'Everything is on one tmpfs. The programs are started anew each time, as a Node service would; ours run in this process.',
      'diffTrees and diff -rq read and compare every file; diffLayer and rsync do not have to.',
    ],
  };
}

/** Tasks of which ours may take so many times as long as the programs. */
const limits = [
  ['write an archive', 'writing an archive, as a multiple of GNU tar'],
  ['unpack an archive', 'unpacking, as a multiple of GNU tar'],
  ['commit (copy, archive, sha256)', 'committing, as a multiple of rsync, tar and sha256sum'],
  ['apply to a host tree', 'applying to a host tree, as a multiple of rsync'],
] as const;

/** What is compared, task by task. */
function contendersIn(path: (...names: string[]) => string, archive: Buffer): readonly Contender[] {
  return [
    { task: 'list what changed', who: '@ns/overlayfs diffLayer', run: () => diffLayer(path('upper'), path('lower')) },
    { task: 'list what changed', who: '@ns/overlayfs diffTrees', run: () => diffTrees(path('lower'), path('merged')) },
    {
      task: 'list what changed',
      who: 'rsync -a --dry-run',
      run: () =>
        execFileSync('rsync', ['-ai', '--delete', '--dry-run', `${path('merged')}/`, `${path('lower')}/`], {
          maxBuffer: 2 ** 28,
        }),
    },
    { task: 'list what changed', who: 'diff -rq', run: () => tolerant('diff', ['-rq', path('lower'), path('merged')]) },
    {
      task: 'write an archive',
      who: '@ns/overlayfs diffStream',
      run: () => finished(diffStream(path('upper')).resume()),
    },
    // A pipe, not /dev/null: GNU tar does not read files when it writes there.
    {
      task: 'write an archive',
      who: 'GNU tar --xattrs',
      run: () =>
        execFileSync('sh', ['-c', `tar --xattrs --format=posix -cf - -C ${path('upper')} . | cat > /dev/null`]),
    },
    { task: 'unpack an archive', who: '@ns/overlayfs applyLayer', run: () => applyLayer([archive], path('unpacked')) },
    {
      task: 'unpack an archive',
      who: 'GNU tar --xattrs',
      run: () => execFileSync('tar', ['--xattrs', '-xpf', path('layer.tar'), '-C', path('unpacked')]),
    },
    {
      task: 'commit (copy, archive, sha256)',
      who: '@ns/overlayfs commit',
      run: () => commit(path('upper'), new LayerStore(path('store'))),
    },
    {
      task: 'commit (copy, archive, sha256)',
      who: 'rsync -aX, tar, sha256sum',
      run: () => {
        execFileSync('rsync', ['-aX', `${path('upper')}/`, `${path('copied')}/`]);
        execFileSync('sh', ['-c', `tar --xattrs --format=posix -cf - -C ${path('copied')} . | sha256sum`]);
      },
    },
    {
      task: 'apply to a host tree',
      who: '@ns/overlayfs applyChanges',
      run: () => applyChanges(path('upper'), path('host')),
    },
    {
      task: 'apply to a host tree',
      who: 'rsync -aX',
      run: () => execFileSync('rsync', ['-aX', `${path('upper')}/`, `${path('host')}/`]),
    },
    {
      task: 'copy a tree',
      who: '@ns/overlayfs copyTree',
      run: () => copyTree('/', path('lower'), '/', join(path('copies'), 'tree')),
    },
    {
      task: 'copy a tree',
      who: 'cp -a',
      run: () => execFileSync('cp', ['-a', path('lower'), join(path('copies'), 'tree')]),
    },
    {
      task: 'copy a tree',
      who: 'rsync -aX',
      run: () => execFileSync('rsync', ['-aX', `${path('lower')}/`, `${join(path('copies'), 'tree')}/`]),
    },
  ];
}

function ratio(samples: ReadonlyMap<Contender, number[]>, contenders: readonly Contender[], task: string): number {
  const [ours, theirs] = contenders
    .filter((contender) => contender.task === task)
    .map((contender) => median(samples.get(contender)!));
  return ours! / theirs!;
}

function makeTree(root: string, content: string): void {
  for (let n = 0; n < FILES; n++) {
    const directory = join(root, `d${Math.floor(n / PER_DIRECTORY)}`);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `file-${n}`), `${content} ${n}\n`.repeat(1 + (n % 200)));
    utimesSync(join(directory, `file-${n}`), 1_700_000_000, 1_700_000_000 + n);
  }
}

/** diff(1) ends with 1 when there are differences. */
function tolerant(program: string, args: readonly string[]): void {
  try {
    execFileSync(program, args, { maxBuffer: 2 ** 28 });
  } catch (error) {
    if ((error as { status?: number }).status !== 1) throw error;
  }
}

function mountinfoTable(): Findings['tables'][number] {
  const mounts = 10_000;
  const text = Array.from(
    { length: mounts },
    (_, id) =>
      `${id} 25 0:${id} / /var/lib/layers/${'f'.repeat(32)}${id}/merged rw,nosuid,relatime shared:${id} - overlay overlay rw,lowerdir=/l/${id}:/l/${id + 1},upperdir=/u/${id},workdir=/w/${id}\n`,
  ).join('');
  const times = Array.from({ length: 4 * ROUNDS }, () => {
    const start = performance.now();
    parseMountinfo(text);
    return performance.now() - start;
  });
  return {
    title: 'Parsing the mount table',
    columns: [{ label: 'mounts', decimals: 0 }, { label: 'MB', decimals: 1 }, { label: 'ms' }],
    rows: [[mounts, text.length / 1e6, median(times)]],
  };
}
