import { PreparedProgram, type Step } from '@ns/launch';
import { RecentCommands, recentCommandsOf } from '../src/recent-commands.ts';

const variable = '0123456789ab';
const stepsFor = (commands: RecentCommands, ...argv: string[]) =>
  commands.stepsOf(JSON.stringify(argv), variable, (): Step[] => [
    { op: 'exec', candidates: [argv[0]!], argv, env: [`HOSTNAME=${variable}`] },
  ]);

test('a command that comes again is assembled once; another one is not taken for it', () => {
  const commands = new RecentCommands();
  expect(stepsFor(commands, '/bin/echo', 'one')).not.toBeInstanceOf(PreparedProgram);
  expect(commands.known('["/bin/echo","one"]')).toBeUndefined();
  const prepared = stepsFor(commands, '/bin/echo', 'one');
  expect(prepared).toBeInstanceOf(PreparedProgram);
  expect(stepsFor(commands, '/bin/echo', 'one')).toBe(prepared);
  expect(commands.known('["/bin/echo","one"]')).toBe(prepared);
  expect(stepsFor(commands, '/bin/echo', 'two')).toMatchObject([{ argv: ['/bin/echo', 'two'] }]);
});

test('of many commands only the latest are kept, and no long ones', () => {
  const commands = new RecentCommands();
  stepsFor(commands, '/bin/echo', 'first');
  for (let i = 0; i < 16; i++) stepsFor(commands, '/bin/echo', String(i));
  expect(stepsFor(commands, '/bin/echo', 'first')).not.toBeInstanceOf(PreparedProgram);
  const long = ['/bin/echo', 'x'.repeat(20_000)];
  stepsFor(commands, ...long);
  expect(stepsFor(commands, ...long)).not.toBeInstanceOf(PreparedProgram);
});

test('a command that names its sandbox is not prepared for others', () => {
  const commands = new RecentCommands();
  for (let i = 0; i < 3; i++) expect(stepsFor(commands, '/bin/echo', variable)).not.toBeInstanceOf(PreparedProgram);
});

test('sandboxes share commands when their environments differ in the variable only', () => {
  const ofOne = recentCommandsOf(['PATH=/bin', 'HOSTNAME=aaaaaaaaaaaa'], 'aaaaaaaaaaaa');
  expect(recentCommandsOf(['PATH=/bin', 'HOSTNAME=bbbbbbbbbbbb'], 'bbbbbbbbbbbb')).toBe(ofOne);
  expect(recentCommandsOf(['PATH=/sbin', 'HOSTNAME=bbbbbbbbbbbb'], 'bbbbbbbbbbbb')).not.toBe(ofOne);
});
