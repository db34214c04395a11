import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { check, O, OwnedFd, open, openat2, RESOLVE, SYS, SyscallError, syscall, watchFd } from '../src/index.ts';

const file = (name: string) => readFileSync(fileURLToPath(new URL(name, import.meta.url)), 'utf8');

test('the example of the README', async () => {
  const printed: unknown[][] = [];
  const console = { log: (...values: unknown[]) => printed.push(values) };
  await example(console);
  expect(printed).toEqual([['ENOENT', -2, '/no/such/file', expect.stringMatching(/^\/proc\/self\/fd\/\d+$/), true]]);
});

async function example(console: { log(...values: unknown[]): void }): Promise<void> {
  // example
  // A path that somebody else chose cannot lead out of this directory, whatever links it contains.
  using root = open('/usr', O.PATH | O.DIRECTORY);
  using file = openat2(root.fd, '../../bin/env', { flags: O.RDONLY, resolve: RESOLVE.IN_ROOT });

  // Every system call, wrapped here or not: the result, or the negated errno.
  using event = new OwnedFd(check('eventfd2', syscall(SYS.eventfd2, 1, O.CLOEXEC | O.NONBLOCK)));

  // pidfd, inotify, eventfd and seqpacket sockets in the event loop, without a thread.
  const ready = await new Promise<boolean>((resolve) => {
    const watch = watchFd(event.fd, { readable: true }, (_status, { readable }) => {
      watch.close();
      resolve(readable);
    });
  });

  try {
    open('/no/such/file', O.RDONLY);
  } catch (error) {
    if (error instanceof SyscallError) console.log(error.code, error.errno, error.path, file.procPath, ready); // ENOENT -2 …
  }
  // end of example
}

test('is what the README prints', () => {
  const lines = (text: string) =>
    text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('import '));
  const readme = /```ts\n([\s\S]*?)```/.exec(file('../README.md'))![1]!;
  const here = /\/\/ example\n([\s\S]*?)\/\/ end of example/.exec(file('readme-example.test.ts'))![1]!;
  expect(lines(here)).toEqual(lines(readme));
});
