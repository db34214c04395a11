import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Adopted, hasBegun, launch, readExit, type Step } from '@ns/launch';
import { O, open } from '@ns/libc';
import { eventually, needs, notRoot, processEntries } from '@ns/testing';

const test = needs(notRoot);
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'launch-adopted-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const journalPath = () => join(directory, 'journal');

/** Under a monitor and an init, with a journal, as containers are. */
function launchWithJournal(script: string, timeoutMs?: number) {
  using journal = open(journalPath(), O.WRONLY | O.APPEND | O.CREAT, { mode: 0o600 });
  const exec: Step = { op: 'exec', candidates: ['/bin/sh'], argv: ['sh', '-c', script], env: [] };
  const init: Step = {
    op: 'clone',
    supervisor: 'init',
    namespaces: [],
    journal: 'journal',
    child: [{ op: 'closeFds' }, { op: 'unblockSignals' }, exec],
  };
  return launch({
    stdio: ['null', 'null', 'null'],
    fds: { journal: journal.fd },
    steps: [
      {
        op: 'clone',
        supervisor: 'monitor',
        namespaces: ['pid'],
        journal: 'journal',
        ...(timeoutMs !== undefined && { timeoutMs }),
        child: [init],
      },
    ],
  });
}

for (const [script, expected] of [
  ['exit 0', { exitCode: 0, signal: null, timedOut: false }],
  ['exit 9', { exitCode: 9, signal: null, timedOut: false }],
  ['kill -TERM $$', { exitCode: null, signal: 'SIGTERM', timedOut: false }],
] as const) {
  test(`the journal has what the caller hears: ${script}`, async () => {
    const launched = launchWithJournal(script);
    const exit = await launched.exited;
    expect(exit).toMatchObject(expected);
    expect(readExit(readFileSync(journalPath()))).toEqual(exit);
  });
}

test('a timeout is in it, and a journal without an end is that of somebody killed', async () => {
  await launchWithJournal('sleep 5', 20).exited;
  expect(readExit(readFileSync(journalPath()))).toMatchObject({ signal: 'SIGKILL', timedOut: true });
  expect(readExit(undefined)).toMatchObject({ exitCode: null, signal: 'SIGKILL', timedOut: false });
});

test('that a parked process has begun is in it from the word on', async () => {
  using journal = open(journalPath(), O.WRONLY | O.APPEND | O.CREAT, { mode: 0o600 });
  const exec: Step = { op: 'exec', candidates: ['/bin/sh'], argv: ['sh', '-c', 'exit 125'], env: [] };
  const child: Step[] = [{ op: 'park', journal: 'journal' }, { op: 'closeFds' }, { op: 'unblockSignals' }, exec];
  const launchParked = () =>
    launch({
      stdio: ['null', 'null', 'null'],
      fds: { journal: journal.fd },
      steps: [{ op: 'clone', supervisor: 'monitor', namespaces: [], journal: 'journal', child }],
    });
  const killed = launchParked();
  await killed.ready;
  killed.kill();
  await killed.exited;
  expect(hasBegun(readFileSync(journalPath()))).toBe(false);
  const launched = launchParked();
  await launched.ready;
  launched.go();
  const exit = await launched.exited;
  expect(exit).toMatchObject({ exitCode: 125 });
  expect(hasBegun(readFileSync(journalPath()))).toBe(true);
  expect(readExit(readFileSync(journalPath()))).toEqual(exit);
  expect(hasBegun(undefined)).toBe(false);
});

test('the payload has no descriptor of the journal', async () => {
  const launched = launchWithJournal('if ls -l /proc/$$/fd | grep journal; then exit 1; fi');
  expect(await launched.exited).toMatchObject({ exitCode: 0 });
});

test('another handle on the process signals it and hears of its end', async () => {
  const launched = launchWithJournal('trap "exit 4" USR1; while :; do sleep 0.01; done');
  await launched.executed;
  const options = {
    monitorPid: launched.monitorPid,
    pid: launched.pid!,
    readJournal: () => readFileSync(journalPath()),
  };
  expect(Adopted.open({ ...options, verify: () => false })).toBeUndefined();
  const adopted = Adopted.open({ ...options, verify: () => true })!;
  expect(() => adopted.signal('SIGNOT' as NodeJS.Signals)).toThrow(expect.objectContaining({ field: 'signal' }));
  // The shell may not have set its trap yet.
  const again = setInterval(() => adopted.signal('SIGUSR1'), 20);
  const exit = await adopted.exited;
  clearInterval(again);
  expect(exit.exitCode ?? exit.signal).toEqual(expect.anything());
  expect(exit).toEqual(await launched.exited);
  adopted[Symbol.dispose]();
  expect(adopted.signal('SIGTERM')).toBe(false);
  expect(Adopted.open({ ...options, verify: () => true })).toBeUndefined();
});

test('an init writes its own label when its child executes, and only its own', async () => {
  const exec: Step = { op: 'exec', candidates: ['/bin/sleep'], argv: ['sleep', '60'], env: [] };
  const init: Step = {
    op: 'clone',
    supervisor: 'init',
    namespaces: [],
    // Any file of a process's own will do: what a security module makes of a label is tested where there is one.
    label: { file: '/proc/thread-self/comm', label: 'labelled' },
    child: [{ op: 'closeFds' }, { op: 'unblockSignals' }, exec],
  };
  const launched = launch({
    stdio: ['null', 'null', 'null'],
    steps: [{ op: 'clone', supervisor: 'monitor', namespaces: ['pid'], child: [init] }],
  });
  await launched.executed;
  const names = () =>
    processEntries()
      .filter(({ pid, parent }) => [pid, parent].includes(launched.pid!))
      .map(({ name }) => name);
  expect(await eventually(() => names().join() === 'labelled,sleep')).toBe(true);
  launched.kill();
  expect(await launched.exited).toMatchObject({ signal: 'SIGKILL', failure: undefined });
});

test('a label outside of procfs is refused before anything runs', () => {
  const init: Step = {
    op: 'clone',
    supervisor: 'init',
    namespaces: [],
    label: { file: '/etc/x', label: '' },
    child: [],
  };
  expect(() => launch({ steps: [init] })).toThrow(expect.objectContaining({ field: 'file' }));
});
