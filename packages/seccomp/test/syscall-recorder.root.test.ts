import { compile, type SeccompFilter, SeccompNotifier, SyscallRecorder } from '@ns/seccomp';
import { needs, notRoot } from '@ns/testing';
import { notThisMachine, runFiltered } from './filtered-child.ts';

const real = needs(notRoot ?? notThisMachine);

const WORKLOAD = `
import tempfile
with tempfile.TemporaryDirectory() as d:
    open(d + '/a', 'w').write('x')
    os.rename(d + '/a', d + '/b')
    s = socket.socket(socket.AF_INET); s.close()
    print(json.dumps(sorted(os.listdir(d))))`;

real('a learnt profile is enough for the workload, and for no more', async () => {
  const recorder = new SyscallRecorder();
  // More than once: which calls an interpreter makes for memory and locks depends on the moment.
  for (let run = 1; run <= 3; run++) {
    const learning = runFiltered(compile(recorder.learningProfile()), WORKLOAD);
    const notifier = SeccompNotifier.listen(await learning.listener, {}, recorder.notifierOptions());
    const ended = new Promise<void>((resolve) => notifier.on('end', () => resolve()));
    expect(await learning.result).toMatchObject({ output: ['b'], code: 0, stderr: '' });
    await ended;
    expect(recorder.counts.get('rename')).toBe(run);
  }
  const profile = recorder.profile();
  const learnt: SeccompFilter = compile(profile);
  expect(await runFiltered(learnt, WORKLOAD).result).toMatchObject({ output: ['b'], code: 0, stderr: '' });
  expect(learnt.evaluate({ syscall: 'rename' })).toEqual({ action: 'ALLOW' });
  expect(learnt.evaluate({ syscall: 'mount' })).toEqual({ action: 'ERRNO', errno: 'EPERM' });
  expect(learnt.evaluate({ syscall: 'socket', args: [2] })).toEqual({ action: 'ALLOW' });
  expect(learnt.evaluate({ syscall: 'socket', args: [10] })).toEqual({ action: 'ERRNO', errno: 'EPERM' });
});
