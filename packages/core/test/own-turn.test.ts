import { setImmediate as nextTurn } from 'node:timers/promises';
import { ownTurn, type TurnKind } from '../src/own-turn.ts';

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

test('who calls something does not wait for all who make something, those who make have their turns in between', async () => {
  const heard: string[] = [];
  const ask = (kind: TurnKind, caller: string) => ownTurn(kind).then(() => heard.push(caller));
  await Promise.all([
    ...['made 1', 'made 2', 'made 3'].map((caller) => ask('making', caller)),
    ...['called 1', 'called 2'].map((caller) => ask('call', caller)),
    ask('clearing up', 'cleared up'),
  ]);
  expect(heard).toEqual(['made 1', 'called 1', 'cleared up', 'made 2', 'called 2', 'made 3']);
});
