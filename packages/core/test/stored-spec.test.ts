import { Wait } from '@ns/core';
import { fromStoredText, toStoredText } from '../src/stored-spec.ts';
import { validateSpec } from '../src/validate-spec.ts';

test('what a container waits for is what it was, after it was on disk: a restart and a restored one wait for it', () => {
  const wait = Wait.all([
    Wait.log(/ready|up/iu, { times: 2 }),
    Wait.any([Wait.http('/', { body: /ok\n/ }), Wait.log('text')]),
  ]);
  // No key or value of the caller's is taken for one of ours.
  const spec = { command: ['true'], wait, labels: { $regexp: 'gi' } };
  const found = fromStoredText(toStoredText(spec)) as typeof spec;
  expect(found).toEqual(spec);
  expect(validateSpec(found).wait).toEqual(wait);
});
