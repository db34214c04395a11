import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';

// By a clock of its own: on the machine's, whoever is interrupted by another process has used the time of that.
let clockMs = 0;
const { now } = performance;
performance.now = () => clockMs;
const { inOwnTurns, ownTurn } = await import('../src/own-turn.ts');
performance.now = now;

/** Holds the thread, as work does. */
function work(ms: number): void {
  clockMs += ms;
}

/** Notes who had a turn, in that order. */
function listener() {
  const heard: string[] = [];
  const ask = async (kind: string, caller: string, ms = 0) => {
    await ownTurn(kind);
    heard.push(caller);
    work(ms);
  };
  return { heard, ask };
}

test('each of many callers gets a turn of the event loop in which nobody else has one', async () => {
  const { heard, ask } = listener();
  const callers = ['first', 'second', 'third'];
  for (const caller of callers) void ask('change', caller, 2);
  for (let turn = 1; turn <= callers.length; turn++) {
    await nextTurn();
    expect(heard).toEqual(callers.slice(0, turn));
  }
});

test('a few who are done at once share a turn', async () => {
  const { heard, ask } = listener();
  const all = Promise.all(['first', 'second', 'third', 'fourth'].map((caller) => ask('change', caller, 0.3)));
  await nextTurn();
  expect(heard).toEqual(['first', 'second', 'third']);
  await all;
});

test('a turn is over when all that follows from it at once is done', async () => {
  const { heard, ask } = listener();
  const first = ask('change', 'first')
    .then(async () => {})
    .then(() => heard.push('what follows'));
  await Promise.all([first, ask('change', 'second')]);
  expect(heard).toEqual(['first', 'what follows', 'second']);
});

test('who asks while others wait comes after them, who asks later waits no longer for it', async () => {
  const { heard, ask } = listener();
  await Promise.all([ask('change', 'first').then(() => ask('change', 'third')), ask('change', 'second')]);
  expect(heard).toEqual(['first', 'second', 'third']);
  await ask('change', 'fourth');
  expect(heard).toHaveLength(4);
});

test('who has little to do does not wait for all who have much to do', async () => {
  const { heard, ask } = listener();
  const asked = [
    ...['long 1', 'long 2', 'long 3'].map((caller) => ask('making', caller, 20)),
    ...['short 1', 'short 2', 'short 3', 'short 4'].map((caller) => ask('reading', caller, 1)),
  ];
  await Promise.all(asked);
  expect(heard.slice(0, 5)).toEqual(['long 1', 'short 1', 'short 2', 'short 3', 'short 4']);
});

test('a kind that asked for nothing meanwhile is not owed what others used', async () => {
  const { heard, ask } = listener();
  const late = () => Promise.all(Array.from({ length: 20 }, () => ask('new', 'late', 4)));
  await Promise.all([ask('busy', 'first', 40), ask('busy', 'second', 8).then(late), ask('busy', 'third')]);
  expect(heard.indexOf('third')).toBeLessThan(8);
});

test('what is done with each of many is done in several turns', async () => {
  let turns = 0;
  const count = () => {
    turns++;
    timer = setImmediate(count);
  };
  let timer = setImmediate(count);
  const doubled = await inOwnTurns('doubling', [1, 2, 3, 4], (number) => {
    work(2);
    return number * 2;
  });
  clearImmediate(timer);
  expect(doubled).toEqual([2, 4, 6, 8]);
  expect(turns).toBeGreaterThanOrEqual(3);
});

test('whoever has a clock of his own for a while holds nobody up', async () => {
  const { setImmediate: real } = globalThis;
  globalThis.setImmediate = (() => {}) as unknown as typeof setImmediate;
  const asked = ownTurn('change');
  globalThis.setImmediate = real;
  await asked;
  await ownTurn('change');
});
