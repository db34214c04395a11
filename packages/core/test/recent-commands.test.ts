import { PreparedProgram, type Step } from '@ns/launch';
import { stepsOfCommand } from '../src/recent-commands.ts';

const stepsFor = (argv: readonly string[]) =>
  stepsOfCommand({ argv }, (): Step[] => [{ op: 'exec', candidates: [argv[0]!], argv, env: [] }]);

test('a command that comes again is assembled once; another one is not taken for it', () => {
  expect(stepsFor(['/bin/echo', 'one'])).not.toBeInstanceOf(PreparedProgram);
  const prepared = stepsFor(['/bin/echo', 'one']);
  expect(prepared).toBeInstanceOf(PreparedProgram);
  expect(stepsFor(['/bin/echo', 'one'])).toBe(prepared);
  expect(stepsFor(['/bin/echo', 'two'])).toMatchObject([{ argv: ['/bin/echo', 'two'] }]);
  expect(stepsFor(['/bin/echo,one'])).toMatchObject([{ argv: ['/bin/echo,one'] }]);
});

test('of many commands only the latest are kept, and no long ones', () => {
  const first = ['/bin/echo', 'first'];
  stepsFor(first);
  for (let i = 0; i < 16; i++) stepsFor(['/bin/echo', String(i)]);
  expect(stepsFor(first)).not.toBeInstanceOf(PreparedProgram);
  const long = ['/bin/echo', 'x'.repeat(20_000)];
  stepsFor(long);
  expect(stepsFor(long)).not.toBeInstanceOf(PreparedProgram);
});
