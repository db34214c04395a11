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
