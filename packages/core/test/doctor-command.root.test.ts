import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { readSubordinateIds } from '@ns/namespaces';
import { needs, notRoot } from '@ns/testing';
import { doctorTable } from '../src/doctor-table.ts';
import { firstUngranted } from '../src/probe/programs.ts';
import { type Capabilities, featureTrials } from '../src/probe.ts';
import { NodeProgram } from './node-program.ts';

/* `npx @ns/core doctor` as somebody types it. */

const rootTest = needs(notRoot);
const features = Object.values(featureTrials).flatMap((trials) => Object.keys(trials));
let doctor: NodeProgram;
beforeAll(() => {
  doctor = new NodeProgram('doctor');
});
afterAll(() => doctor[Symbol.dispose]());

rootTest('prints a table, without colours where no terminal is', async () => {
  for (const args of [[], ['doctor']]) {
    const { stdout, ...end } = await doctor.run(args);
    expect(end).toEqual({ exitCode: 0, signal: null, stderr: '' });
    expect(stdout).toMatch(/^Linux \S+, Node v\d+.*, uid 0\n/);
    for (const feature of features) expect(stdout).toMatch(new RegExp(`^  (yes|no |NO )  ${feature}\\b`, 'm'));
    expect(stdout).toMatch(/\nContainers can run here\.\n$/);
    expect(stdout).not.toContain('\x1b');
  }
});

rootTest('prints JSON for programs', async () => {
  const { stdout, exitCode } = await doctor.run(['--json']);
  expect(exitCode).toBe(0);
  const capabilities = JSON.parse(stdout);
  expect(Object.keys(capabilities).toSorted()).toEqual(features.toSorted());
  expect(capabilities.overlay).toEqual({ ok: true });
});

rootTest('tells an ordinary user what to do about what is missing', async () => {
  const { stdout, stderr, exitCode } = await doctor.run([], { uid: 65534, gid: 65534 });
  expect(stderr).toBe('');
  expect(stdout).toMatch(/, uid 65534\n/);
  const missing = stdout.match(/^Containers need: (.*)\.$/m)?.[1]?.split(', ');
  expect(exitCode).toBe(missing ? 1 : 0);
  // Each with its reason.
  for (const feature of missing ?? []) expect(stdout).toMatch(new RegExp(`^  NO   ${feature} +\\S`, 'm'));
});

rootTest('advises ids that nobody has, of users and of groups', async () => {
  const { stdout } = await doctor.run([], { uid: 65534, gid: 65534 });
  const advice = /usermod --add-subuids (\d+)-(\d+) --add-subgids \1-\2 nobody$/m.exec(stdout);
  const [first, last] = [Number(advice?.[1]), Number(advice?.[2])];
  expect(last - first).toBe(65_535);
  for (const { start, size } of [...readSubordinateIds('uid'), ...readSubordinateIds('gid')])
    expect(start > last || start + size <= first).toBe(true);
  expect(firstUngranted([])).toBe(100_000);
  const granted = [
    { start: 300_000, size: 65_536 },
    { start: 100_000, size: 65_536 },
    { start: 165_600, size: 10 },
  ];
  expect(firstUngranted(granted)).toBe(165_610);
  expect(firstUngranted([...granted, { start: 231_000, size: 65_536 }])).toBe(365_536);
});

rootTest('says again what would help where it stands under another subject', () => {
  const none = { ok: false, why: 'so', fix: 'Run as root' };
  const capabilities = Object.fromEntries(features.map((name) => [name, { ok: true }]));
  const table = doctorTable({ ...capabilities, idmappedMounts: none, criu: none } as Capabilities, (_, text) => text);
  expect(table.match(/^ +Run as root$/gm)).toHaveLength(2);
});

rootTest('explains itself, also to who mistypes', async () => {
  expect(await doctor.run(['--help'])).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^Usage: /) });
  for (const args of [['--jsno'], ['doktor'], ['doctor', 'now']])
    expect(await doctor.run(args)).toMatchObject({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringMatching(/^Usage: /),
    });
});

test('npm finds it in a checkout, too', async () => {
  const directory = fileURLToPath(new URL('../../..', import.meta.url));
  // npm keeps compiled code in the temporary directory where Node.js can.
  const env = { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1' };
  const { stdout } = await promisify(execFile)('npx', ['--no', '@ns/core', 'doctor', '--help'], {
    cwd: directory,
    env,
  });
  expect(stdout).toMatch(/^Usage: npx @ns\/core doctor/);
});
