// Terminates workers in the middle of what they do, starts nothing itself, and prints as JSON which children it is left with.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { eventually, processEntries } from '@ns/testing';
import { entrust, launch } from '../../src/index.ts';
import { monitoredPlan } from '../plans.ts';

const children = () => processEntries().filter(({ parent }) => parent === process.pid);

if (isMainThread) {
  const most: number[] = [];
  for (let round = 0; round < 10; round++) {
    const worker = new Worker(process.argv[1]!);
    await once(worker, 'message');
    most.push(children().length);
    await worker.terminate();
  }
  await eventually(() => children().length === 0);
  process.stdout.write(JSON.stringify({ most: Math.min(...most), left: children() }));
} else {
  entrust({ files: ['/nowhere'] });
  for (let i = 0; i < 3; i++)
    await launch({ steps: monitoredPlan(['sleep', '600']), stdio: ['null', 'null', 'null'] }).executed;
  parentPort!.postMessage('started');
}
