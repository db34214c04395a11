import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Container, prune, run } from '@ns/core';

/*
 * Does random things to containers until it is killed: `soak-owner SEED MARK`. What it makes carries MARK in its command
 * line. A line of JSON tells each container made, and each thing that should not have happened.
 */

const [seed, mark] = process.argv.slice(2);
const HANG_MS = 90_000;
const tell = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** A linear congruential generator: the same seed does the same things. */
let state = Number(seed) >>> 0;
const random = (below: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const oneOf = <T>(choices: readonly T[]): T => choices[random(choices.length)]!;
const chance = (percent: number): boolean => random(100) < percent;

const mine: Container[] = [];
const known = () => (mine.length === 0 ? undefined : oneOf(mine));
const directory = mkdtempSync(join(tmpdir(), 'soak-'));
const file = join(directory, 'file');
writeFileSync(file, 'x'.repeat(100_000));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));

const scripts = [
  'exec sleep 600',
  'while :; do echo tick; sleep 0.01; done',
  'sleep 0.2; exit 3',
  'setsid sleep 600 & setsid sleep 600 & sleep 0.1',
  'yes | head -c 3000000; exec sleep 600',
  'echo data > /tmp/file; mkdir -p /srv/x; exec sleep 600',
  'trap "exit 0" TERM; while :; do sleep 0.05; done',
  'kill -SEGV $$',
];

async function create(): Promise<void> {
  const name = chance(30) ? `soak-${mark}-${random(4)}` : undefined;
  const container = await Container.create({
    command: ['sh', '-c', oneOf(scripts), mark!],
    ...(name !== undefined && { name }),
    ...(chance(40) && { lifetime: { dieWithParent: false } }),
    ...(chance(30) && { restart: oneOf(['always', 'on-failure:2'] as const) }),
    ...(chance(30) && { init: false }),
    ...(chance(50) && { limits: { memory: '64MiB', pids: 64 } }),
    ...(chance(20) && { idMap: 'auto' as const }),
    ...(chance(20) && { log: { maxSize: '64KiB', maxFiles: 2 } }),
    ...(chance(20) && { timeout: 1000 + random(2000) }),
    ...(chance(20) && { health: { command: 'true', interval: 50 } }),
  });
  tell({ id: container.id });
  mine.push(container);
  if (chance(90)) await container.start();
}

async function forget(): Promise<void> {
  if (mine.length < 5 && !chance(30)) return;
  const [container] = mine.splice(random(mine.length), 1);
  await container?.remove({ force: true });
}

async function meddle(): Promise<void> {
  const all = await Container.list();
  if (all.length === 0) return;
  await using other = await Container.get(oneOf(all).id);
  await oneOf([
    () => other.exec('true', { timeout: 5000 }),
    () => other.stop({ timeout: 50 }),
    () => other.remove({ force: true }),
    async () => {
      await other.pause();
      await other.resume();
    },
    () => other.update({ limits: { pids: 32 + random(32) } }),
    () => readSome(other),
  ])();
}

async function readSome(container: Container): Promise<void> {
  let bytes = 0;
  for await (const { data } of container.logs({ tail: 1000 })) bytes += data.length;
  if (bytes < 0) tell({ bytes });
}

const exec = (script: string, options = {}) => known()?.exec('sh', ['-c', script, mark!], options);

const operations: Readonly<Record<string, () => unknown>> = {
  create,
  create2: create,
  forget,
  meddle,
  start: () => known()?.start(),
  exec: () => exec('echo hello; true'),
  execFork: () => exec('setsid sleep 600 & echo; exit 1'),
  execTimeout: () => exec('sleep 600', { timeout: 50 + random(100) }),
  execAbort: () => exec('sleep 600', { signal: AbortSignal.timeout(50) }),
  execFlood: () => exec('yes', { maxOutput: { bytes: 100_000, onExceed: 'kill' } }),
  execTerminal: () => exec('tty', { tty: true, timeout: 5000 }),
  kill: () => known()?.kill(oneOf(['SIGKILL', 'SIGTERM', 'SIGUSR1', 'SIGSTOP', 'SIGCONT'] as const)),
  stop: () => known()?.stop({ timeout: random(100) }),
  restart: () => known()?.restart({ timeout: random(100) }),
  pause: () => known()?.pause(),
  resume: () => known()?.resume(),
  update: () => known()?.update({ limits: { pids: 32 + random(32) } }),
  rename: () => known()?.rename(`soak-${mark}-${random(4)}`),
  stats: () => known()?.stats(),
  processes: () => known()?.processes(),
  logs: () => {
    const container = known();
    return container && readSome(container);
  },
  diff: () => known()?.diff(),
  copyIn: () => known()?.copyIn(file, '/tmp/copied'),
  copyOut: () => known()?.copyOut('/etc/hostname', join(directory, `out-${random(3)}`)),
  discard: () => known()?.discard(),
  fork: async () => {
    const forks = (await known()?.fork(1)) ?? [];
    for (const fork of forks) {
      tell({ id: fork.id });
      mine.push(fork);
    }
  },
  detach: () => known()?.detach(),
  run: () => run('sh', ['-c', 'echo run', mark!], { timeout: 5000 }),
  prune: () => prune(),
};

/** What may be answered to somebody who asks for things at random. */
function isExpected(error: unknown): boolean {
  const { code, name } = error as { code?: unknown; name?: string };
  return String(code).startsWith('ERR_NS_') || ['AbortError', 'UnavailableError'].includes(name!) || files.has(code);
}

// Of copies: the file may not be there, and a view of the host in a user namespace is read-only.
const files = new Set<unknown>(['ENOENT', 'EROFS']);

async function worker(): Promise<never> {
  for (;;) {
    const operation = oneOf(Object.keys(operations));
    const hang = setTimeout(() => tell({ hang: operation }), HANG_MS);
    try {
      await operations[operation]!();
    } catch (error) {
      if (!isExpected(error)) tell({ operation, error: String((error as Error).stack ?? error) });
    } finally {
      clearTimeout(hang);
    }
  }
}

process.on('unhandledRejection', (error) => tell({ unhandled: String((error as Error).stack ?? error) }));
process.on('SIGTERM', () => process.exit(0));
// Several at once, on the same containers.
await Promise.all([worker(), worker(), worker(), worker()]);
