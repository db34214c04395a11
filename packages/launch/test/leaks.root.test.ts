import { readlinkSync } from 'node:fs';
import { kernelState, leftSince, needs, notRoot, processesInNamespace } from '@ns/testing';
import { launch } from '../src/index.ts';
import { assembleContainer, containerPlan } from './plans.ts';
import { outcome, run } from './run.ts';

/* Descriptors, children, zombies and mounts of this process before and after. */

const rootTest = needs(notRoot);
const container = (...argv: string[]) => {
  const plan = containerPlan(argv);
  // Their stdin stays the pipe.
  return assembleContainer({ ...plan, setup: plan.setup.filter(({ op }) => op !== 'stdioNull') });
};
const pipes = ['pipe', 'pipe', 'pipe'] as const;

rootTest(
  '200 containers one after the other leave nothing',
  async () => {
    await run({ steps: container('true'), stdio: pipes });
    const before = kernelState();
    for (let i = 0; i < 200; i++) {
      const { exit } = await run({ steps: container('true'), stdio: pipes });
      expect(exit).toMatchObject({ exitCode: 0, failure: undefined });
    }
    expect(await leftSince(before)).toEqual([]);
  },
  60_000,
);

rootTest(
  '50 containers at once are 50 containers, and leave nothing',
  async () => {
    await run({ steps: container('true'), stdio: pipes });
    const before = kernelState();
    const all = Array.from({ length: 50 }, () =>
      launch({ steps: container('bash', '-c', 'hostname; read line; exit "$line"'), stdio: pipes }),
    );
    const outcomes = all.map(outcome);
    await Promise.all(all.map(({ executed }) => executed));
    const namespaces = all.map(({ pid }) => readlinkSync(`/proc/${pid}/ns/pid`));
    expect(new Set(namespaces).size).toBe(50);
    for (const [i, { stdin }] of all.entries()) stdin!.end(`${i}\n`);
    expect((await Promise.all(outcomes)).map(({ stdout, exit }) => [stdout, exit.exitCode])).toEqual(
      all.map((_, i) => ['sandbox\n', i]),
    );
    for (const name of namespaces) expect(processesInNamespace('pid', name)).toEqual([]);
    expect(await leftSince(before)).toEqual([]);
  },
  60_000,
);

rootTest(
  '50 containers that are killed at any moment of their start leave nothing',
  async () => {
    await run({ steps: container('true'), stdio: pipes });
    const before = kernelState();
    const all = Array.from({ length: 50 }, (_, i) => {
      const launched = launch({ steps: container('sleep', '60'), stdio: pipes });
      setTimeout(() => launched.kill(), i);
      return launched;
    });
    for (const { exit } of await Promise.all(all.map(outcome)))
      expect(exit).toMatchObject({ signal: 'SIGKILL', failure: undefined });
    expect(await leftSince(before)).toEqual([]);
  },
  60_000,
);

rootTest('containers whose streams nobody wants leave nothing when they are destroyed', async () => {
  const before = kernelState();
  for (let i = 0; i < 10; i++) {
    const launched = launch({ steps: container('bash', '-c', 'while :; do echo much output; done'), stdio: pipes });
    await launched.executed;
    launched.stdout!.destroy();
    launched.stderr!.destroy();
    // Its output leads nowhere: SIGPIPE, because the disposition is the default again.
    expect((await launched.exited).signal).toBe('SIGPIPE');
  }
  expect(await leftSince(before)).toEqual([]);
});
