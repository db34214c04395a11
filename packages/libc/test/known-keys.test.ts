import { nearest, onlyKnownKeys, SpecError } from '@ns/libc';

test('a misspelt key is refused and the nearest one named', () => {
  expect(() => onlyKnownKeys({ memroy: 1 }, ['memory', 'cpus'], 'limits')).toThrow(
    'limits.memroy: expected one of the keys memory, cpus, received "memroy". Did you mean memory?',
  );
  expect(() => onlyKnownKeys({ cpus: 1 }, ['memory', 'cpus'], 'limits')).not.toThrow();
});

test('what is no object is refused', () => {
  for (const value of [null, undefined, 'text', 3, []])
    expect(() => onlyKnownKeys(value, ['a'], '')).toThrow(SpecError);
});

test('nothing is suggested for a word that is like none', () => {
  expect(nearest('hostname', ['pids', 'io'])).toBeUndefined();
  expect(nearest('PIDS', ['pids', 'io'])).toBe('pids');
  expect(nearest('cols', ['rows', 'columns'])).toBe('columns');
  expect(nearest('mem', ['pids', 'memory'])).toBe('memory');
});
