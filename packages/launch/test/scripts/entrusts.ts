// Entrusts what its arguments name (a directory of files, a file, a cgroup with a process in it), does what it is told line by
// line, says so, and dies in the way it is told: node entrusts.js WAY DIRECTORY CGROUP
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { addressOf, CLONE, check, cString, SYS, syscall } from '@ns/libc';
import { endZygote, entrust, launch } from '../../src/index.ts';
import { monitoredPlan } from '../plans.ts';

const [way, directory, cgroup] = process.argv.slice(2) as [string, string, string];
const say = (word: string) => process.stdout.write(`${word}\n`);
const path = (name: string) => `${directory}/${name}`;

function make(): void {
  const file = path('file');
  const state = path('state');
  const given = entrust({ files: [path('given-back')] });
  // So many that they have to be read in between.
  for (let i = 0; i < 200; i++) entrust({ files: [`${file}-${i}`, path('long'.repeat(50))] })[Symbol.dispose]();
  entrust({ files: [file], directories: [state], cgroups: [cgroup, path('never-made')], parents: [directory] });
  given[Symbol.dispose]();
  writeFileSync(file, '');
  mkdirSync(state);
  for (let i = 0; i < 30; i++) writeFileSync(`${state}/file-with-a-name-of-some-length-${i}`, '');
  mkdirSync(`${cgroup}/inner`);
}

function makeLinks(): void {
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

/** A cgroup on which something is mounted cannot be removed. */
function makeStuck(): void {
  check('unshare', syscall(SYS.unshare, CLONE.NEWNS));
  execFileSync('mount', ['--make-rprivate', '/']);
  const [stuck, free, state] = [`${cgroup}/stuck`, `${cgroup}/free`, path('state')];
  entrust({ cgroups: [stuck, free], directories: [state] });
  for (const made of [stuck, free, state]) mkdirSync(made);
  execFileSync('mount', ['-t', 'tmpfs', 'none', stuck]);
}

const made: Readonly<Record<string, () => void>> = { links: makeLinks, stuck: makeStuck };
let number = 0;

const commands: Readonly<Record<string, () => unknown>> = {
  /** One file more. */
  more() {
    const file = path(`more-${++number}`);
    entrust({ files: [file] });
    writeFileSync(file, '');
  },
  /** More than a process that does not read has room for. */
  flood() {
    for (let i = 0; i < 400; i++) entrust({ files: [path('x'.repeat(3000) + i)] });
  },
  /** More than there are places. */
  overflow() {
    for (let i = 0; i < 5000; i++) entrust({ files: [path(`many-${i}`)] });
  },
  async launch() {
    for (let i = 0; i < 2; i++)
      await launch({ steps: monitoredPlan(['true']), stdio: ['null', 'null', 'null'] }).exited;
  },
  chdir: () => process.chdir('/tmp'),
  endZygote,
  nobody() {
    process.setgroups!([]);
    process.setgid!(65534);
    process.setuid!(65534);
  },
  /** New processes would be of another pid namespace, until the first has ended. */
  unshare: () => void check('unshare', syscall(SYS.unshare, CLONE.NEWPID)),
  spawn: () => void execFileSync('true'),
  /** Goes on as another program, with the same pid. */
  exec() {
    const words = ['/bin/sleep', '600'].map((word) => cString(word));
    const vector = BigInt64Array.from([...words.map(({ address }) => BigInt(address)), 0n]);
    say('exec');
    check('execve', syscall(SYS.execve, words[0]!.address, addressOf(vector), 0));
  },
  end() {
    if (way !== 'uncaught') process.exit();
    // Nobody need read of it.
    closeSync(2);
    openSync('/dev/null', 'w');
    throw new Error('uncaught');
  },
};

process.on('warning', (warning) => say((warning as NodeJS.ErrnoException).code!));

if (!isMainThread) {
  make();
  parentPort!.postMessage('made');
  setInterval(() => {}, 1000);
} else if (way === 'worker' || way === 'worker of another user') {
  const worker = new Worker(process.argv[1]!, { argv: process.argv.slice(2) });
  worker.once('message', async () => {
    say('made');
    process.stdin.once('data', async () => {
      if (way !== 'worker') commands.nobody!();
      await worker.terminate();
      say('terminated');
    });
  });
} else {
  (made[way] ?? make)();
  say('made');
  for await (const command of createInterface(process.stdin)) {
    await commands[command]!();
    say(command);
  }
}
