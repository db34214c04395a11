import { SpecError } from '@ns/libc';
import { enter, enterPlan } from '@ns/namespaces';

const design = {
  namespaces: ['net', 'mnt'] as const,
  user: undefined,
  cwd: undefined,
  argv: ['id', '-u'],
  env: { PATH: '/bin:/usr/bin' },
  timeoutMs: undefined,
};

test('namespaces are joined at once, after the process has become invisible, and the program is a child', () => {
  const steps = enterPlan({ ...design, user: { uid: 0, gid: 0, groups: [] }, cwd: '/tmp', timeoutMs: 5 });
  expect(steps.map(({ op }) => op)).toEqual([
    'dieWithParent',
    'newSession',
    'processName',
    'notDumpable',
    'setns',
    'clone',
  ]);
  const clone = steps.at(-1)!;
  expect(clone).toMatchObject({ timeoutMs: 5, namespaces: [] });
  expect('child' in clone && clone.child.map(({ op }) => op)).toEqual([
    'dieWithParent',
    'newSession',
    'workingDirectory',
    'credentials',
    'closeFds',
    'unblockSignals',
    'exec',
  ]);
  expect('child' in clone && clone.child.at(-1)).toEqual({
    op: 'exec',
    candidates: ['/bin/id', '/usr/bin/id'],
    argv: ['id', '-u'],
    env: ['PATH=/bin:/usr/bin'],
  });
});

test('nothing is joined when all is ours', () => {
  expect(enterPlan({ ...design, namespaces: [] }).map(({ op }) => op)).not.toContain('setns');
});

test.each([
  [{ target: 0, namespaces: 'all' }, 'id', 'target'],
  [{ target: {}, namespaces: 'all' }, 'id', 'target'],
  [{ target: { pidfd: 0 }, namespaces: 'all' }, 'id', 'pidfd'],
  [{ target: process.pid, namespaces: 'some' }, 'id', 'namespaces'],
  [{ target: process.pid, namespaces: ['nett'] }, 'id', 'namespaces[0]'],
  [{ target: process.pid, namespace: ['net'] }, 'id', 'Did you mean namespaces?'],
  [{ target: process.pid, namespaces: [] }, '', 'command'],
  [{ target: process.pid, namespaces: [] }, [], 'command'],
])('%j %j is refused', (where, command, message) => {
  expect(() => enter(where as never, command as never)).toThrow(SpecError);
  expect(() => enter(where as never, command as never)).toThrow(message);
});

test.each([{ cwd: 'tmp' }, { timeout: 0 }, { maxOutputBytes: -1 }, { environment: {} }])(
  'options %j are refused',
  (options) => {
    expect(() => enter({ target: process.pid, namespaces: [] }, 'true', [], options as never)).toThrow(SpecError);
  },
);
