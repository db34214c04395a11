import { Container, run } from '@ns/core';
import { needs, notRoot } from '@ns/testing';

const test = needs(notRoot);

const spin = ['-c', 'while :; do :; done'];
const limits = { memory: '64MiB' };
const cpuMs = ({ cpuUserMs, cpuSystemMs }: { cpuUserMs: number | undefined; cpuSystemMs: number | undefined }) =>
  cpuUserMs! + cpuSystemMs!;

const endings = {
  'a timeout': () => run('sh', spin, { limits, timeout: 500 }),
  'an abort': () => run('sh', spin, { limits, signal: AbortSignal.timeout(500) }),
  SIGKILL: () => {
    const running = run('sh', spin, { limits });
    setTimeout(() => running.kill('SIGKILL'), 500);
    return running;
  },
};
for (const [end, ended] of Object.entries(endings))
  test(`of what ${end} ended its cgroup tells what it used`, async () => {
    const { signal, usage } = await ended();
    expect(signal).toBe('SIGKILL');
    expect(cpuMs(usage)).toBeGreaterThan(50);
  });

test('the same of a container', async () => {
  await using container = await Container.create({ command: ['sh', ...spin], limits, timeout: 500 });
  await container.start();
  expect(cpuMs((await container.wait()).usage)).toBeGreaterThan(50);
});

test('without a cgroup what it used is not known, and said to be nothing by no figure', async () => {
  const { reason, usage } = await run('sh', spin, { timeout: 300 });
  expect(reason).toBe('timeout');
  expect(usage).toMatchObject({ cpuUserMs: undefined, cpuSystemMs: undefined, ioReadBytes: undefined });
});

for (const [title, options] of [
  ['', {}],
  [' as another user, with ids of its own', { idMap: 'auto', user: '1000:1000' }],
] as const)
  test(`what a program leaves behind${title} is ended and counted`, async () => {
    const script = '(while :; do :; done) & setsid sh -c "while :; do :; done" & sleep 0.5';
    const { exitCode, usage } = await run('sh', ['-c', script], options);
    expect(exitCode).toBe(0);
    expect(cpuMs(usage)).toBeGreaterThan(50);
  });

test('an init in a pid namespace of others ends none of theirs', async () => {
  await using other = await Container.create({ command: ['sleep', '60'] });
  await other.start();
  await run('sh', ['-c', 'sleep 60 &'], { namespaces: { pid: { container: other } } });
  expect(other.status).toBe('running');
  expect((await other.exec('true')).exitCode).toBe(0);
});
