// A worker thread that launches, exits, and leaves the process nothing to wait for. Prints what is left as JSON.
import { isMainThread, Worker } from 'node:worker_threads';
import { processEntries } from '@ns/testing';
import { launch } from '../../src/index.ts';
import { monitoredPlan } from '../plans.ts';

const children = () => processEntries().filter(({ parent }) => parent === process.pid);

if (isMainThread) {
  const worker = new Worker(process.argv[1]!);
  worker.once('message', (seen) => {
    worker.once('exit', () => process.stdout.write(`${JSON.stringify({ seen, left: children() })}\n`));
  });
} else {
  const { parentPort } = await import('node:worker_threads');
  for (let i = 0; i < 3; i++) await launch({ steps: monitoredPlan(['true']), stdio: ['null', 'null', 'null'] }).exited;
  parentPort!.postMessage(children().map(({ name }) => name));
}
