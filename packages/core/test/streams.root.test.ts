import { PassThrough, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { needs, notRoot } from '@ns/testing';
import { Container, run } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* Streams as their callers really treat them: left early, asked for late, written to when nobody reads. */

const rootTest = needs(notRoot);
useOwnStateRoot();
const sh = (script: string, options: Parameters<typeof run>[1] = {}) => run('sh', ['-c', script], options as object);

rootTest('who stops iterating does not stop the command, and the result has all of its output', async () => {
  for (const buffer of [true, false]) {
    const process = sh('head -c 5000000 /dev/zero; echo done >&2', { buffer });
    for await (const _ of process) break;
    const result = await process;
    expect(result.exitCode).toBe(0);
    expect([result.stdout.length, result.stderr]).toEqual(buffer ? [5_000_000, 'done\n'] : [0, '']);
  }
});

rootTest('who takes one piece, and then never asks again, does not hold up the end', async () => {
  const command = run('sh', ['-c', 'echo ready; read line; exit 3'], { stdin: 'pipe' });
  expect(String((await command.stdout[Symbol.asyncIterator]().next()).value)).toBe('ready\n');
  command.stdin.end('go\n');
  expect(await command).toMatchObject({ exitCode: 3, stdout: 'ready\n' });
});

rootTest('who destroys a stream on being given a piece of it hears no more, and the command ends', async () => {
  for (const size of [10, 65_536, 5_000_000]) {
    const process = sh(`head -c ${size} /dev/zero; sleep 0.1; exit 3`);
    process.stdout.once('data', () => process.stdout.destroy());
    expect(await process).toMatchObject({ reason: 'exit', exitCode: 3 });
  }
});

rootTest('what was written arrives, whatever its size, and however it is read', async () => {
  const text = Array.from({ length: 500_000 }, (_, i) => `${i + 1}\n`).join('');
  for (const size of [1, 65_535, 65_536, 65_537, 262_145, 3_000_000]) {
    const expected = text.slice(0, size);
    const process = sh(`seq 1 500000 | head -c ${size}`, { buffer: false });
    let read = '';
    for await (const data of process.stdout) {
      read += data;
      if (read.length % 3 === 0) await delay(1);
    }
    expect(read === expected).toBe(true);
    const paused = sh(`seq 1 500000 | head -c ${size}`);
    paused.stdout.once('data', () => {
      paused.stdout.pause();
      setTimeout(() => paused.stdout.resume(), 50);
    });
    expect((await paused).stdout === expected).toBe(true);
  }
});

rootTest('what a program is given is its own to open by name, also where it has ids of its own', async () => {
  const script = 'cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr';
  for (const idMap of [undefined, 'auto'] as const) {
    await using container = await Container.create({ command: ['sleep', 'infinity'], ...(idMap && { idMap }) });
    await container.start();
    for (const user of ['0', 'nobody']) {
      const told = { exitCode: 0, stdout: 'in\nout\n', stderr: 'err\n' };
      const options = { user, stdin: 'in\n' };
      expect(await sh(script, { ...options, ...(idMap && { idMap }) })).toMatchObject(told);
      expect(await container.exec('sh', ['-c', script], options)).toMatchObject(told);
    }
  }
});

rootTest('a pipe that the program has widened stays as wide', async () => {
  const script = `
    import fcntl, os
    fcntl.fcntl(1, 1031, 1 << 20)
    for _ in range(20): os.write(1, b'x' * 65536)
    os.write(2, str(fcntl.fcntl(1, 1032)).encode())`;
  const { stdout, stderr } = await run('python3', ['-c', script.replaceAll('\n    ', '\n')], { encoding: 'buffer' });
  expect([stdout.length, String(stderr)]).toEqual([20 * 65_536, String(2 ** 20)]);
});

rootTest('who begins to iterate after the end finds the end', async () => {
  const process = sh('echo there');
  expect((await process).stdout).toBe('there\n');
  const chunks: unknown[] = [];
  for await (const chunk of process) chunks.push(chunk);
  expect(chunks).toEqual([]);
});

rootTest('chunks are bytes, also when a stream was asked for text', async () => {
  const process = sh('printf é');
  process.stdout.setEncoding('utf8');
  const chunks: Buffer[] = [];
  for await (const { data } of process) chunks.push(data);
  expect(Buffer.concat(chunks).toString()).toBe('é');
});

rootTest('who writes to a command that has ended does not bring this process down', async () => {
  const process = run('true', [], { stdin: 'pipe' });
  process.stdin.write('x'.repeat(1_000_000));
  expect(await process).toMatchObject({ exitCode: 0, reason: 'exit' });
  process.stdin.write('more');
  await delay(20);
});

rootTest('signals that are sent before the process exists arrive, all of them', async () => {
  const killed = run('sleep', ['2']);
  killed.kill('SIGCONT');
  killed.kill('SIGKILL');
  expect(await killed).toMatchObject({ signal: 'SIGKILL', reason: 'signal' });
  const call = new AbortController();
  const aborted = run('sleep', ['2'], { signal: call.signal });
  aborted.kill('SIGCONT');
  call.abort();
  expect(await aborted).toMatchObject({ signal: 'SIGKILL', reason: 'abort' });
  const unknown = run('true');
  expect(() => unknown.kill('SIGNONE' as NodeJS.Signals)).toThrow(expect.objectContaining({ field: 'signal' }));
  expect(await unknown).toMatchObject({ exitCode: 0 });
});

describe('an input that fails before its end', () => {
  const failing = () =>
    Readable.from(
      (async function* () {
        yield 'partial';
        await delay(50);
        throw new Error('the disk is gone');
      })(),
    );

  rootTest('ends the command, and is the reason that it is rejected for', async () => {
    await expect(run('cat', [], { stdin: failing() })).rejects.toMatchObject({
      code: 'ERR_NS_STDIN_FAILED',
      message: expect.stringContaining('the input of cat failed: the disk is gone'),
      cause: expect.objectContaining({ message: 'the disk is gone' }),
    });
    const destroyed = new PassThrough();
    const process = run('cat', [], { stdin: destroyed });
    setTimeout(() => destroyed.destroy(), 50);
    await expect(process).rejects.toMatchObject({ cause: { code: 'ERR_STREAM_PREMATURE_CLOSE' } });
  });

  rootTest('is nothing to a command that has ended by then', async () => {
    const stdin = new PassThrough();
    expect(await run('true', [], { stdin })).toMatchObject({ exitCode: 0, reason: 'exit' });
    stdin.destroy(new Error('too late'));
    await delay(20);
  });

  rootTest('ends a container', async () => {
    await using container = await Container.create({ command: ['cat'], stdin: failing() });
    await container.start();
    expect(await container.wait()).toMatchObject({ signal: 'SIGKILL', stdout: 'partial' });
  });
});
