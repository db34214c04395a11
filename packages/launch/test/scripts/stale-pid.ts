// A worker thread is terminated when it has waited for a child and not yet struck its pid off its list; the pid is given to a child
// of Node's own. Prints as JSON what Node hears of that one.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { eventually, processEntries } from '@ns/testing';
import { childTable } from '../../src/child-table.ts';
import { launch } from '../../src/index.ts';
import { rest } from '../../src/zygote.ts';
import { monitoredPlan } from '../plans.ts';

const children = () => processEntries().filter(({ parent }) => parent === process.pid);

if (isMainThread) {
  const worker = new Worker(process.argv[1]!);
  // As if this thread had not loaded the library.
  worker.removeAllListeners('exit');
  await once(worker, 'message');
  const child = spawn('sh', ['-c', 'trap "exit 7" USR1; while :; do sleep 0.05; done'], { stdio: 'ignore' });
  const heard = once(child, 'exit');
  worker.postMessage(child.pid);
  const [listed] = await once(worker, 'message');
  await worker.terminate();
  await eventually(() => children().every(({ pid, state }) => pid === child.pid || state === 'Z'));
  child.kill('SIGUSR1');
  // Node hears of nothing meanwhile.
  while (children().find(({ pid }) => pid === child.pid)?.state !== 'Z');
  rest();
  const left = children().map(({ pid }) => (pid === child.pid ? 'the child' : pid));
  const code = await Promise.race([
    heard.then(([code]) => code),
    new Promise((r) => setTimeout(r, 5000, 'nothing').unref()),
  ]);
  process.stdout.write(JSON.stringify({ listed, left, code }));
} else {
  const words = () => Array.from({ length: 1022 }, (_, index) => childTable().word(index + 1));
  const run = async (command: string[]) => launch({ steps: monitoredPlan(command), stdio: ['null', 'null', 'null'] });
  await (await run(['sleep', '600'])).executed;
  const short = await run(['sleep', '0.3']);
  await short.executed;
  const word = words().find(([pid]) => pid === short.monitorPid)!;
  await short.exited;
  parentPort!.once('message', (pid: number) => {
    word[0] = pid;
    parentPort!.postMessage(words().filter(([listed]) => listed === pid).length);
  });
  parentPort!.postMessage('started');
}
