// Let an untrusted tool work on a directory, look at what it changed, accept or reject: `review.js DIRECTORY COMMAND…`.
// The tool sees a copy-on-write view of this machine; nothing it does reaches the directory but what you accept.
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { type Change, Container } from '@ns/core';

const [directory, ...command] = process.argv.slice(2);
if (directory === undefined || command.length === 0) {
  process.stderr.write('usage: review DIRECTORY COMMAND [ARGUMENT...]\n');
  process.exit(2);
}
const project = resolve(directory);
const isInside = (path: string) => path.startsWith(`${project}/`);
// A file name or a line may hold escape sequences: they are shown, and never reach the terminal.
const printable = (text: string) => text.replace(/[^\n\t\x20-\x7e\u00a0-\uffff]/g, '\ufffd');
const say = (text: string) => process.stdout.write(`${printable(text)}\n`);

await using container = await Container.create({
  command: ['sleep', 'infinity'],
  rootfs: { host: true, show: [project] },
  limits: { memory: '512MiB', pids: 128 },
});
await container.start();
// When it settles, every process that the tool started is gone: what is looked at is what is accepted.
const { exitCode, stdout, stderr } = await container.exec(command, { cwd: project, timeout: 60_000 });
say(`${command[0]} ended with ${exitCode}\n${stdout}${stderr}`);

const changes = (await container.diff()).filter(({ kind, type }) => kind !== 'modified' || type !== 'directory');
const outside = changes.filter(({ path }) => !isInside(path));
if (outside.length > 0) say(`Outside the directory, and so rejected: ${outside.map(({ path }) => path).join(', ')}`);

const accepted = new Set<string>();
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
for (const change of changes.filter(({ path }) => isInside(path))) {
  say(`\n${change.kind} ${change.path}${describe(change)}`);
  if (change.type === 'file' && change.kind !== 'deleted') say(await difference(change));
  process.stdout.write('accept? [y/N] ');
  const { value = '' } = await answers.next();
  if (String(value).trim().toLowerCase() === 'y') accepted.add(change.path);
}
process.stdin.destroy();

await container.stop({ timeout: 0 });
// Whatever was accepted: no set-user-ID programs of root's and no devices from a program that is not trusted.
const { written, deleted } = await container.apply('/', {
  select: (path) => accepted.has(path),
  privileges: 'drop',
});
await container.discard();
say(`\n${accepted.size} changes accepted (${written} written, ${deleted} deleted), the rest is gone`);

function describe({ type, mode, size }: Change): string {
  return type === undefined ? '' : `: ${type}, mode ${mode?.toString(8)}, ${size} bytes`;
}

/** What changed in a file, when it is text. */
async function difference({ path, kind }: Change): Promise<string> {
  const { stdout: content } = await container.exec('cat', ['--', path], { maxOutput: { bytes: '1MiB' } });
  if (content.includes('\0') || content.includes('\ufffd')) return '(not text)';
  const before = kind === 'added' ? '/dev/null' : path;
  return spawnSync('diff', ['-u', '--label', path, '--label', path, '--', before, '-'], {
    input: content,
    encoding: 'utf8',
  }).stdout;
}
