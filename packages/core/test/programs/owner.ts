import { Worker } from 'node:worker_threads';
import { Container, run } from '../../src/index.ts';

/* Owns containers until it is ended. Prints one line of JSON when all run: host pids of their first processes. */

const [mode = 'containers', count = '1'] = process.argv.slice(2);
const many = Array.from({ length: Number(count) }, (_, i) => i);

async function containers(): Promise<(number | undefined)[]> {
  return Promise.all(
    many.map(async (i) => {
      if (i % 2 === 0) {
        const process = run('sh', ['-c', '(setsid sleep 600 &); sleep 600']);
        process.catch(() => {});
        await process.started;
        return process.pid;
      }
      const container = await Container.create({ command: ['sleep', '600'] });
      await container.start();
      return container.pid;
    }),
  );
}

const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);

if (mode === 'worker') {
  const worker = new Worker(new URL(import.meta.url), { argv: ['containers', count], stdout: true });
  worker.stdout.pipe(process.stdout);
  process.stdin.once('data', async () => {
    await worker.terminate();
    say('terminated');
  });
} else if (mode === 'list') {
  say((await Container.list()).map(({ id, status }) => [id, status]));
} else {
  say(await containers());
  process.stdin.once('data', () => process.exit(0));
}
