import { candidatesFor } from '../src/index.ts';

test.each([
  ['env', '/usr/bin:/bin', ['/usr/bin/env', '/bin/env']],
  ['an empty directory is the one we are in', '/bin:', ['/bin/env', './env']],
  ['no PATH', '', ['./env']],
])('a name, %s', (_, path, candidates) => {
  expect(candidatesFor('env', path)).toEqual(candidates);
});

test.each(['/bin/env', './env', 'bin/env'])('%s has a slash: it is looked for nowhere', (program) => {
  expect(candidatesFor(program, '/usr/bin:/bin')).toEqual([program]);
});
