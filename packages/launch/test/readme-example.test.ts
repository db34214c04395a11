import { readFileSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { explain, launch, type Step } from '../src/index.ts';

const file = (name: string) => readFileSync(fileURLToPath(new URL(name, import.meta.url)), 'utf8');

test('the example of the README', async () => {
  let written = '';
  const process = {
    ...globalThis.process,
    pid: globalThis.process.pid,
    stdout: { write: (chunk: Buffer) => (written += chunk) },
  };
  const printed: string[] = [];
  const console = { log: (text: string) => printed.push(text) };

  // example
  const steps: Step[] = [
    { op: 'dieWithParent', parent: process.pid },
    {
      op: 'clone',
      supervisor: 'monitor',
      namespaces: [],
      timeoutMs: 5000,
      child: [
        { op: 'dieWithParent' },
        { op: 'rlimit', name: 'nofile', soft: 64, hard: 64, required: true },
        { op: 'noNewPrivileges' },
        { op: 'closeFds' },
        { op: 'unblockSignals' },
        { op: 'exec', candidates: ['/usr/bin/env', '/bin/env'], argv: ['env'], env: ['GREETING=hello'] },
      ],
    },
  ];
  console.log(explain(steps, { extra: 0, named: [] }).toString());

  const launched = launch({ steps });
  launched.stdout!.on('data', (chunk) => process.stdout.write(chunk)); // GREETING=hello
  const { exitCode, signal, timedOut, failure, usage } = await launched.exited;
  if (failure) throw failure; // mount proc on /proc: EPERM … (step 11 of 38, mount: fsmount)
  // end of example

  expect({ exitCode, signal, timedOut }).toEqual({ exitCode: 0, signal: null, timedOut: false });
  expect(usage).toBeDefined();
  launched.stderr!.destroy();
  await finished(launched.stdout!, { writable: false });
  expect(written).toBe('GREETING=hello\n');
  expect(printed[0]).toMatch(/^1 {2}dieWithParent: be killed when/);
});

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
