// Entrusts what its argument names (a directory of files, a file, a cgroup with a process in it), and dies in the way it is told.
import { closeSync, mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { endZygote, entrust } from '../../src/index.ts';

const [way, directory, cgroup] = process.argv.slice(2) as [string, string, string];
const say = (word: string) => process.stdout.write(`${word}\n`);

function make(): void {
  const file = `${directory}/file`;
  const state = `${directory}/state`;
  const given = entrust({ files: [`${directory}/given-back`] });
  // So many that they have to be read in between.
  for (let i = 0; i < 200; i++)
    entrust({ files: [`${file}-${i}`, `${directory}/${'long'.repeat(50)}`] })[Symbol.dispose]();
  entrust({ files: [file], directories: [state], cgroups: [cgroup, `${directory}/never-made`], parents: [directory] });
  given[Symbol.dispose]();
  if (way === 'renewed') endZygote();
  if (way === 'renewed') entrust({ files: [`${file}-2`] });
  writeFileSync(file, '');
  mkdirSync(state);
  for (let i = 0; i < 30; i++) writeFileSync(`${state}/file-with-a-name-of-some-length-${i}`, '');
  mkdirSync(`${cgroup}/inner`);
}

function makeLinks(): void {
  const path = (name: string) => `${directory}/${name}`;
  const links = ['gone', 'longer', 'shorter', 'other', 'never'].map((name) => ({ path: path(name), target: 'mine' }));
  // Of the longest text there may be.
  const long = { path: path('long'), target: 'x'.repeat(4095) };
  entrust({ links: [...links, { path: path('file'), target: 'mine' }, long], files: [path('file')] });
  for (const [name, text] of [
    ['gone', 'mine'],
    ['longer', 'mine and more'],
    ['shorter', 'min'],
    ['other', 'mime'],
    ['long', long.target],
  ] as const)
    symlinkSync(text, path(name));
  writeFileSync(path('file'), '');
}

if (!isMainThread) {
  make();
  parentPort!.postMessage('made');
  setInterval(() => {}, 1000);
} else if (way === 'worker') {
  const worker = new Worker(process.argv[1]!, { argv: process.argv.slice(2) });
  worker.once('message', async () => {
    say('made');
    process.stdin.once('data', async () => {
      await worker.terminate();
      say('terminated');
    });
  });
} else {
  if (way === 'links') makeLinks();
  else make();
  say('made');
  process.stdin.once('data', () => {
    if (way === 'uncaught') {
      // Nobody need read of it.
      closeSync(2);
      openSync('/dev/null', 'w');
      throw new Error('uncaught');
    }
    process.exit();
  });
}
