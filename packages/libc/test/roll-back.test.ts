import { rollBack } from '../src/index.ts';

const error = new Error('no space');

test('the error of the work is thrown once it was undone', async () => {
  let undone = 0;
  expect(await rollBack(error, async () => ++undone)).toBe(error);
  expect(undone).toBe(1);
});

test.each([
  ['later', async () => Promise.reject(new Error('busy'))],
  [
    'at once',
    () => {
      throw new Error('busy');
    },
  ],
])('an undo that fails %s takes nothing from it', async (_, undo) => {
  const both = (await rollBack(error, undo)) as AggregateError;
  expect(both).toBeInstanceOf(AggregateError);
  expect(both.message).toBe('no space; rolling back failed, too: busy');
  expect(both.errors).toEqual([error, new Error('busy')]);
});
