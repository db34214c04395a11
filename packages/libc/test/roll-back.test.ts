import { NsError, rollBack, SeveralErrors } from '../src/index.ts';

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
  const both = (await rollBack(error, undo)) as SeveralErrors;
  expect(both).toBeInstanceOf(SeveralErrors);
  expect(both.code).toBe('ERR_NS_SEVERAL');
  expect(both.message).toBe('no space; rolling back failed, too: busy');
  expect(both.errors).toEqual([error, new Error('busy')]);
});

test('who matches on a code finds that of the work', async () => {
  const undo = async () => Promise.reject(new Error('busy'));
  const full = new NsError('ENOSPC', 'no space', { hint: 'Make room' });
  expect(await rollBack(full, undo)).toMatchObject({ code: 'ENOSPC', hint: 'Make room', cause: full });
  const ofNode = Object.assign(new Error('gone'), { code: 'ENOENT' });
  expect(await rollBack(ofNode, undo)).toMatchObject({ code: 'ENOENT', errors: [ofNode, expect.any(Error)] });
});
