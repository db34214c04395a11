import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* Who looks at a container of another process stays until there is nothing to see. */

useOwnStateRoot();

needs(notRoot)('a process that follows a container it has found lives as long as that', async () => {
  using onlooker = new NodeProgram('onlooker');
  await using c = await Container.create({
    command: ['sh', '-c', 'echo first; until [ -e /go ]; do sleep 0.05; done; echo last'],
    lifetime: { dieWithParent: false },
  });
  await c.start();
  const looks = ['logs', 'events', 'attach', 'none', 'wait'].map((what) => {
    const child = onlooker.start([c.id, what]);
    let text = '';
    child.stdout.on('data', (data) => {
      text += data;
    });
    return { child, found: once(child.stdout, 'data'), end: once(child, 'close').then(([code]) => ({ code, text })) };
  });
  await Promise.all(looks.map(({ found }) => found));
  // Who has seen enough goes at once.
  expect(await looks[3]!.end).toEqual({ code: 0, text: 'found\ndone\n' });
  expect(await looks[4]!.end).toEqual({ code: 0, text: 'found\nERR_NS_TIMEOUT\ndone\n' });
  await delay(200);
  expect(looks.slice(0, 3).map(({ child }) => child.exitCode)).toEqual([null, null, null]);
  await c.exec('touch', ['/go'], { check: true });
  expect(await Promise.all(looks.slice(0, 3).map(({ end }) => end))).toEqual([
    { code: 0, text: 'found\nfirst\nlast\ndone\n' },
    { code: 0, text: 'found\nexit\ndone\n' },
    { code: 0, text: 'found\nlast\ndone\n' },
  ]);
});

needs(notRoot)(
  'a process that reads stats of a container, its own or one it has found, does so to the end of that',
  async () => {
    using reader = new NodeProgram(
      'stats-reader',
      `import { Container } from '@ns/core';
    const found = process.argv[2] && (await Container.get(process.argv[2]));
    const c = found || (await Container.create({ command: ['sleep', '0.5'], limits: { pids: 64 } }));
    if (!found) await c.start();
    let samples = 0;
    for await (const { pids } of c.stats({ interval: 100 })) {
      if (pids === undefined) throw new Error('no sample');
      if (++samples === 2) console.log('two');
    }
    console.log('end');`,
    );
    await using c = await Container.create({ command: ['sleep', '600'], limits: { pids: 64 } });
    await c.start();
    const child = reader.start([c.id]);
    const end = once(child, 'close');
    expect(String(await once(child.stdout, 'data'))).toBe('two\n');
    await c.kill();
    expect(await end).toEqual([0, null]);
    expect(await reader.run()).toMatchObject({ exitCode: 0, stdout: 'two\nend\n', stderr: '' });
  },
);

needs(notRoot)('the end of a container is the end of its stats, whenever it comes', async () => {
  for (let round = 0; round < 10; round++) {
    await using c = await Container.create({ command: ['sleep', '600'], limits: { pids: 64 } });
    await c.start();
    const readers = Array.from({ length: 5 }, async () => {
      let samples = 0;
      for await (const _ of c.stats({ interval: 1 })) samples++;
      return samples;
    });
    // Of this one the next sample would come too late.
    const slow = c.stats({ interval: 3_600_000 })[Symbol.asyncIterator]();
    expect(await slow.next()).toMatchObject({ done: false });
    const last = slow.next();
    await delay(5 + round);
    await c.kill();
    for (const samples of await Promise.all(readers)) expect(samples).toBeGreaterThan(0);
    expect(await last).toEqual({ done: true, value: undefined });
  }
});

needs(notRoot)(
  'what looks at a found container ends when that is disposed of, and calls after that say so',
  async () => {
    await using c = await Container.create({
      command: ['sh', '-c', 'while :; do echo x; sleep 0.02; done'],
      lifetime: { dieWithParent: false },
      limits: { pids: 64 },
    });
    await c.start();
    const found = await Container.get(c.id);
    const drain = async (values: AsyncIterable<unknown>) => {
      for await (const _ of values);
      return 'ended';
    };
    const looks = [found.logs({ follow: true }), found.events(), found.stats({ interval: 20 })].map(drain);
    await delay(100);
    await found[Symbol.asyncDispose]();
    expect(await Promise.all(looks)).toEqual(['ended', 'ended', 'ended']);
    expect(found.status).toBe('running');
    const calls: (() => PromiseLike<unknown>)[] = [
      () => found.exec('true'),
      () => found.wait(),
      () => found.kill(),
      () => found.stop(),
      () => found.stats(),
      () => found.processes(),
      () => found.pause(),
      () => found.rename('other'),
      () => found.mount({ type: 'tmpfs', target: '/mnt' }),
      () => found.remove({ force: true }),
      async () => found.attach(),
    ];
    for (const call of calls)
      await expect(Promise.resolve().then(call)).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_LEFT' });
    expect(c.status).toBe('running');
    await found[Symbol.asyncDispose]();
  },
);
