import { closeSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { check, SYS, syscall } from '@ns/libc';
import { needs, notRoot } from '@ns/testing';
import { Container, type ContainerProcess, Pool, run } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* Whoever has an output open that is not his, for ever: he found it in /proc, or it was sent to him. Nobody waits for him. */

const rootTest = needs(notRoot);
useOwnStateRoot();

/** Opens the standard output of a process and keeps it open meanwhile. */
async function holding<T>(pid: number, act: (fd: number) => Promise<T>): Promise<T> {
  const fd = openSync(`/proc/${pid}/fd/1`, 'w');
  try {
    return await act(fd);
  } finally {
    closeSync(fd);
  }
}

// Its pid is the program's.
const options = { init: false, stdin: 'pipe' } as const;
const F_SETPIPE_SZ = 1031;

describe.each([{ tty: false }, { tty: true }])('%o', ({ tty }) => {
  rootTest('by the program of the container in which a command is run', () =>
    leavesNothing(async () => {
      const hold =
        'until [ -s /tmp/pid ]; do sleep 0.01; done; exec 9>/proc/$(cat /tmp/pid)/fd/1; mv /tmp/pid /tmp/held';
      await using container = await Container.create({ command: ['sh', '-c', `while :; do ${hold}; done`] });
      await container.start();
      const script =
        'echo $$ >/tmp/pid; until [ -e /tmp/held ]; do sleep 0.01; done; rm /tmp/held; echo out; exec sleep 60';
      const call = new AbortController();
      const timed = await container.exec('sh', ['-c', script], { timeout: 1000, tty });
      expect(timed).toMatchObject({ reason: 'timeout', stdout: tty ? 'out\r\n' : 'out\n' });
      const aborted = container.exec('sh', ['-c', script], { signal: call.signal, tty });
      for await (const _ of aborted) call.abort();
      expect(await aborted).toMatchObject({ reason: 'abort', stdout: tty ? 'out\r\n' : 'out\n' });
    }),
  );

  rootTest('of a container', () =>
    leavesNothing(async () => {
      const container = await Container.create({ command: ['sh', '-c', 'echo out; exec sleep 60'], init: false, tty });
      await container.start();
      await holding(container.pid!, async () => {
        await container.stop({ timeout: 0 });
        expect(await container.wait()).toMatchObject({ signal: 'SIGKILL', stdout: tty ? 'out\r\n' : 'out\n' });
        await container.start();
        await holding(container.pid!, () => container.remove({ force: true }));
      });
    }),
  );

  rootTest('of a run that is not read', () =>
    leavesNothing(async () => {
      const process = run('sleep', ['60'], { ...options, tty, buffer: false, timeout: 300 });
      await process.started;
      await holding(process.pid!, async () => expect(await process).toMatchObject({ reason: 'timeout' }));
    }),
  );
});

rootTest('of a command in a pool', () =>
  leavesNothing(async () => {
    await using pool = await Pool.create({ size: 1, template: { init: false } });
    const sandbox = await pool.acquire();
    const process = sandbox.run('sh', ['-c', 'echo out; exec sleep 60'], { timeout: 300 });
    await process.started;
    await holding(process.pid!, async () =>
      expect(await process).toMatchObject({ reason: 'timeout', stdout: 'out\n' }),
    );
  }),
);

describe.each([
  { kind: 'collected', size: ({ stdout }: { stdout: string }) => stdout.length, buffer: true },
  { kind: 'read slowly', size: undefined, buffer: false },
])('$kind', ({ size, buffer }) => {
  rootTest('nothing is lost of what the program left in the pipe', () =>
    leavesNothing(async () => {
      const script = 'read word; head -c 900000 /dev/zero; head -c 90000 /dev/zero';
      const process = run('sh', ['-c', script], { ...options, buffer });
      await process.started;
      await holding(process.pid!, async (fd) => {
        // All of it has room: the program ends long before it is read.
        check('fcntl', syscall(SYS.fcntl, fd, F_SETPIPE_SZ, 2 ** 20));
        const read = size ? process.then(size) : readSlowly(process);
        process.stdin.end('\n');
        expect(await read).toBe(990_000);
        expect(await process).toMatchObject({ exitCode: 0 });
      });
    }),
  );
});

async function readSlowly(process: ContainerProcess): Promise<number> {
  let bytes = 0;
  for await (const data of process.stdout as AsyncIterable<Buffer>) {
    bytes += data.length;
    await delay(20);
  }
  return bytes;
}
