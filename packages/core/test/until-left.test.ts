import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { untilLeft } from '../src/until-left.ts';

const done = { done: true, value: undefined };

/** Gives 1, and waits for the end. */
function source() {
  const seen: string[] = [];
  const values = untilLeft(async function* (left) {
    try {
      yield 1;
      await once(left, 'abort');
      await delay(1);
    } finally {
      seen.push('ended');
    }
  });
  return { values, seen };
}

test('who leaves while he waits is let go at once, and what was held is free', async () => {
  const { values, seen } = source();
  expect(await values.next()).toEqual({ done: false, value: 1 });
  const waits = [values.next(), values.next()];
  const leaving = values.return();
  expect(await Promise.race([waits[0], leaving.then(() => 'too late')])).toEqual(done);
  expect(await Promise.all([...waits, leaving])).toEqual([done, done, done]);
  expect(seen).toEqual(['ended']);
  expect(await values.next()).toEqual(done);
  expect(await values.return()).toEqual(done);
});

test('that a source ends by an error when it is left is nobody’s error', async () => {
  const values = untilLeft(async function* (left) {
    yield await delay(60_000, 1, { signal: left });
  });
  const wait = values.next();
  expect(await values.return()).toEqual(done);
  expect(await wait).toEqual(done);
});

test('one that was never read can be left, and a loop goes to the end', async () => {
  expect(await source().values.return()).toEqual(done);
  const { values, seen } = source();
  for await (const value of values) {
    expect(value).toBe(1);
    break;
  }
  expect(seen).toEqual(['ended']);
  const all: number[] = [];
  for await (const value of untilLeft(async function* () {
    yield* [1, 2, 3];
  }))
    all.push(value);
  expect(all).toEqual([1, 2, 3]);
});

test('errors of the source, and those thrown into it, reach its reader', async () => {
  const failing = untilLeft(async function* () {
    yield await Promise.reject(new Error('no more'));
  });
  await expect(failing.next()).rejects.toThrow('no more');
  expect(await failing.next()).toEqual(done);
  const { values, seen } = source();
  await values.next();
  await expect(values.throw(new Error('enough'))).rejects.toThrow('enough');
  expect(seen).toEqual(['ended']);
});
