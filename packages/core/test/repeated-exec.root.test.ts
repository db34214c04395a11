import { spawnSync } from 'node:child_process';
import { rmdirSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';

const rootTest = needs(notRoot);

rootTest('a command that was executed before is in a cgroup of its own, and as it is asked for this time', async () => {
  await using container = await Container.create({ command: ['sleep', '60'] });
  await container.start();
  const shell = (script: string, options = {}) => container.exec(['sh', '-c', script], options);
  const cgroups = new Set<string>();
  for (let i = 0; i < 4; i++) cgroups.add((await shell('cat /proc/self/cgroup')).stdout);
  expect(cgroups.size).toBe(4);
  for (const cwd of ['/tmp', '/usr', '/tmp', '/usr', '/tmp'])
    expect((await shell('pwd', { cwd })).stdout.trim()).toBe(cwd);
  for (const word of ['one', 'two', 'one', 'two', 'one'])
    expect((await shell('echo $WORD', { env: { WORD: word } })).stdout.trim()).toBe(word);
  for (const user of [undefined, 'nobody', undefined, 'nobody', undefined])
    expect((await shell('id -u', user && { user })).stdout.trim()).toBe(user ? '65534' : '0');
  for (const timeout of [undefined, 50, undefined, 50])
    expect((await shell('sleep 0.3', timeout && { timeout })).reason).toBe(timeout ? 'timeout' : 'exit');
});

rootTest('a command ends at whatever moment of its start it is killed, or its time is up', async () => {
  await using container = await Container.create({ command: ['sleep', '60'] });
  await container.start();
  for (let i = 0; i < 120; i++) {
    const command = container.exec('sleep', ['61'], i % 3 === 0 ? { timeout: 1 + (i % 7) } : {});
    for (const until = performance.now() + (i % 40) / 6; performance.now() < until; ) await nextTurn();
    command.kill('SIGKILL');
    expect(await command).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  }
  expect((await container.processes()).map(({ command }) => command.join(' '))).toEqual(['ns-init', 'sleep 60']);
});

describe('the cgroup of the next command', () => {
  /** Those of commands, in all trees. */
  const cgroupsOf = ({ id }: Container): string[] =>
    spawnSync('find', ['/sys/fs/cgroup', '-type', 'd', '-path', `*/ns-${id}/exec-*`], { encoding: 'utf8' })
      .stdout.split('\n')
      .filter(Boolean);
  const running = async (act: (container: Container) => Promise<void>) => {
    await using container = await Container.create({ command: ['sleep', '60'] });
    await container.start();
    await container.exec('true');
    await act(container);
  };

  /** Waits until there is one. Who looks too late comes after it. */
  const seen = async (container: Container): Promise<void> => {
    const another = async () => cgroupsOf(container).length > 0 || ((await container.exec('true')) && false);
    expect(await eventually(another)).toBe(true);
  };

  rootTest('is there when one has ended, and gone when no other comes', () =>
    running(async (container) => {
      await seen(container);
      expect(await eventually(() => cgroupsOf(container).length === 0)).toBe(true);
    }),
  );

  rootTest('is made anew when somebody has removed it', () =>
    running(async (container) => {
      await seen(container);
      for (const directory of cgroupsOf(container)) rmdirSync(directory);
      expect((await container.exec('true')).exitCode).toBe(0);
    }),
  );

  rootTest('has the limits that the container has been given since', () =>
    running(async (container) => {
      await container.update({ limits: { pids: 10 } });
      const { stderr } = await container.exec('sh', ['-c', 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done']);
      expect(stderr).toMatch(/fork/i);
    }),
  );

  rootTest('goes with the container', async () => {
    let ended: Container | undefined;
    await running(async (container) => {
      ended = container;
      await seen(container);
    });
    expect(cgroupsOf(ended!)).toEqual([]);
  });
});
