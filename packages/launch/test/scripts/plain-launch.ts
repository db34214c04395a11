// Launches one program and prints what became of it.
import { launch } from '@ns/launch';

const launched = launch({
  steps: [
    { op: 'closeFds' },
    { op: 'unblockSignals' },
    {
      op: 'exec',
      candidates: ['/bin/sh'],
      argv: ['sh', '-c', 'readlink /proc/$$/exe; exit 7'],
      env: ['PATH=/usr/bin:/bin'],
    },
  ],
  stdio: ['null', 1, 2],
});
const { exitCode, failure } = await launched.exited;
process.stdout.write(`exit ${exitCode} ${failure?.message ?? ''}\n`);
