// A process that starts others and is then ended in some way by the test: node owner.js <how> [count]
// It prints one line of JSON for each process it started, then "ready".
import { writeSync } from 'node:fs';
import { isMainThread, Worker } from 'node:worker_threads';
import { launch } from '../../src/index.ts';
import { assembleContainer, containerPlan, initPlan } from '../plans.ts';

const [, script, how, count = '1'] = process.argv;

async function startContainers(): Promise<void> {
  const steps = assembleContainer(containerPlan(['sleep', '300']));
  const started = Array.from({ length: Number(count) }, () => launch({ steps, stdio: ['null', 'null', 'null'] }));
  for (const launched of started) {
    await launched.executed;
    print({ monitor: launched.monitorPid, init: launched.pid });
  }
  print('ready');
}

/** Starts processes as fast as it can until it is ended. They stay in its working directory, by which the test finds them. */
function startEndlessly(): void {
  for (let i = 0; i < 20; i++) launch({ steps: initPlan(['sleep', '300']), stdio: ['null', 'null', 'null'] });
  print('ready');
  setInterval(() => launch({ steps: initPlan(['sleep', '300']), stdio: ['null', 'null', 'null'] }), 1);
}

function print(value: unknown): void {
  // Synchronous: the test may end us right after.
  writeSync(1, `${JSON.stringify(value)}\n`);
}

if (!isMainThread || how === 'main') {
  await startContainers();
  if (isMainThread) process.stdin.once('data', () => process.exit(0));
} else if (how === 'endless') {
  startEndlessly();
} else {
  const worker = new Worker(script!, { argv: [how, count] });
  process.stdin.once('data', () => void worker.terminate().then(() => print('terminated')));
  setInterval(() => {}, 1000);
}
