// A child of Node's own calls itself what a worker's helpers are called, and has ended when those of a terminated worker are
// waited for. Prints as JSON what Node hears of it, and what is left.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { eventually, processEntries } from '@ns/testing';
import { launch } from '../../src/index.ts';
import { rest } from '../../src/zygote.ts';
import { monitoredPlan } from '../plans.ts';

const children = () => processEntries().filter(({ parent }) => parent === process.pid);
const tables = () => readFileSync('/proc/self/maps', 'utf8').split('memfd:ns-children').length - 1;

if (isMainThread) {
  const worker = new Worker(process.argv[1]!);
  // As if this thread had not loaded the library.
  worker.removeAllListeners('exit');
  await once(worker, 'message');
  const [ofWorker, table] = [children().length, tables()];
  await worker.terminate();
  await eventually(() => children().every(({ state }) => state === 'Z'));
  const child = spawn('sh', ['-c', 'printf ns-monitor/w > /proc/$$/comm; exit 7'], { stdio: 'ignore' });
  const heard = once(child, 'exit');
  // Node hears of nothing meanwhile.
  while (children().find(({ pid }) => pid === child.pid)?.state !== 'Z');
  const names = new Set(children().map(({ name }) => name));
  rest();
  const left = children().map(({ pid }) => (pid === child.pid ? 'the child' : pid));
  const [code] = await heard;
  process.stdout.write(JSON.stringify({ ofWorker, table, names: [...names].sort(), left, code, tables: tables() }));
} else {
  for (let i = 0; i < 3; i++)
    await launch({ steps: monitoredPlan(['sleep', '600']), stdio: ['null', 'null', 'null'] }).executed;
  parentPort!.postMessage('started');
}
