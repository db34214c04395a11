import { setImmediate as nextTurn } from 'node:timers/promises';
import { ownTurn } from '../src/own-turn.ts';

test('each of many callers gets a turn of the event loop in which nobody else has one', async () => {
  const callers = ['first', 'second', 'third'];
  const heard: string[] = [];
  for (const caller of callers) void ownTurn().then(() => heard.push(caller));
  for (let turn = 1; turn <= callers.length; turn++) {
    await nextTurn();
    expect(heard).toEqual(callers.slice(0, turn));
  }
});

test('who asks while others wait comes after them, who asks later waits no longer for it', async () => {
  const heard: string[] = [];
  const ask = (caller: string) => ownTurn().then(() => heard.push(caller));
  await Promise.all([ask('first').then(() => ask('third')), ask('second')]);
  expect(heard).toEqual(['first', 'second', 'third']);
  await ask('fourth');
  expect(heard).toHaveLength(4);
});
