import { tracingChannel } from 'node:diagnostics_channel';
import { setImmediate } from 'node:timers/promises';
import { Container, type ContainerTrace, containerChannels, type TracedOperation } from '@ns/core';
import { needs, notRoot } from '@ns/testing';

const test = needs(notRoot);
const operations = Object.keys(containerChannels) as TracedOperation[];

/** Listens as a tracer does: by the names alone. */
function listen(): { seen: string[]; traces: ContainerTrace[]; stop(): void } {
  const seen: string[] = [];
  const traces: ContainerTrace[] = [];
  const stops = operations.map((operation) => {
    const channel = tracingChannel<unknown, ContainerTrace>(`ns:container.${operation}`);
    const note = (event: string) => (trace: ContainerTrace) => {
      seen.push(`${operation} ${event}`);
      traces.push(trace);
    };
    const listeners = {
      start: note('start'),
      end: () => {},
      asyncStart: () => {},
      asyncEnd: note('end'),
      error: note('error'),
    };
    channel.subscribe(listeners);
    return () => channel.unsubscribe(listeners);
  });
  return {
    seen,
    traces,
    stop() {
      for (const stop of stops) stop();
    },
  };
}

test('a life is told of as it happens', async () => {
  const { seen, traces, stop } = listen();
  await using c = await Container.create({ name: 'traced', command: ['sleep', 'infinity'] });
  await c.start();
  const { stdout } = await c.exec('echo', ['hello']);
  await c.kill();
  await c.remove();
  stop();
  expect(stdout).toBe('hello\n');
  expect(seen).toEqual([
    'create start',
    'create end',
    'start start',
    'exit start',
    'start end',
    'exec start',
    'exec end',
    'exit end',
  ]);
  expect(new Set(traces.map(({ id }) => id))).toEqual(new Set([c.id]));
  expect(traces.find(({ command }) => command[0] === 'echo')).toMatchObject({
    name: 'traced',
    result: { exitCode: 0 },
  });
  expect(traces.at(-1)!.result).toMatchObject({ signal: 'SIGKILL' });
});

test('failures are told of, and remain the caller’s', async () => {
  const { seen, traces, stop } = listen();
  await using c = await Container.create({ command: ['no-such-program'] });
  await expect(c.start()).rejects.toMatchObject({ code: 'ERR_NS_COMMAND_NOT_FOUND' });
  await expect(c.exec('true')).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_RUNNING' });
  // Tracers hear of it some microtasks after the caller.
  await setImmediate();
  stop();
  expect(seen).toEqual(expect.arrayContaining(['start error', 'exec error']));
  expect(traces.some(({ error }) => (error as { code?: string })?.code === 'ERR_NS_COMMAND_NOT_FOUND')).toBe(true);
});
