import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container, run, Wait } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

/* Terminals from the side of who types and reads. At a real one: examples/test/shell.root.test.ts. */

const rootTest = needs(notRoot);
useOwnStateRoot();
const size = { columns: 123, rows: 45 };

rootTest('the first thing a program sees is the size that was asked for before it began', () =>
  leavesNothing(async () => {
    await using container = await Container.create({ command: ['stty', 'size'], tty: true });
    container.resize(size);
    await container.start();
    expect((await container.wait()).stdout).toBe('45 123\r\n');
    await using running = await Container.create({ command: ['sleep', 'infinity'] });
    await running.start();
    for (let i = 0; i < 5; i++) {
      for (const begin of [run, running.exec.bind(running)] as (typeof run)[]) {
        const process = begin('stty', ['size'], { tty: true });
        process.resize(size);
        expect((await process).stdout).toBe('45 123\r\n');
      }
    }
  }),
);

rootTest('the size stays over a restart', () =>
  leavesNothing(async () => {
    const command = ['sh', '-c', 'stty size; exec sleep infinity'];
    await using container = await Container.create({ command, tty: true, wait: Wait.log(/\d/) });
    await container.start();
    container.resize(size);
    await container.restart({ timeout: 0 });
    const lines: string[] = [];
    for await (const { data } of container.logs({ follow: true })) {
      lines.push(...data.toString().trim().split('\r\n'));
      if (lines.length === 2) break;
    }
    expect(lines[1]).toBe('45 123');
  }),
);

rootTest('of what was written before the end nothing is lost, however slowly it is read', () =>
  leavesNothing(async () => {
    for (let i = 0; i < 20; i++) {
      const { stdout } = await run('seq', ['1', '3000'], { tty: true });
      expect(stdout).toBe(Array.from({ length: 3000 }, (_, index) => `${index + 1}\r\n`).join(''));
    }
    const process = run('seq', ['1', '3000'], { tty: true, buffer: false });
    let bytes = 0;
    for await (const { data } of process) {
      bytes += data.length;
      await delay(20);
    }
    expect(bytes).toBe(16_893);
  }),
);

rootTest('bytes of any value go through a raw terminal', async () => {
  const script = 'stty raw -echo; echo ready; head -c 256';
  const process = run('sh', ['-c', script], { tty: true, stdin: 'pipe', encoding: 'buffer' });
  const every = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  process.stdout.once('data', () => process.stdin.write(every));
  expect((await process).stdout).toEqual(Buffer.concat([Buffer.from('ready\n'), every]));
});

rootTest("a terminal is its user's to open by its name, and with ids of its own, too", async () => {
  const script = 'stat -c %u $(tty); : > $(tty)';
  const options = { tty: true, timeout: 10_000 };
  for (const idMap of [undefined, 'auto'] as const) {
    await using container = await Container.create({ command: ['sleep', 'infinity'], ...(idMap && { idMap }) });
    await container.start();
    for (const user of ['0', '65534']) {
      const told = { exitCode: 0, stdout: `${user}\r\n` };
      expect(await run('sh', ['-c', script], { ...options, user, ...(idMap && { idMap }) })).toMatchObject(told);
      expect(await container.exec('sh', ['-c', script], { ...options, user })).toMatchObject(told);
    }
  }
});

rootTest('an input that ends in the middle of a line ends, too', async () => {
  for (const stdin of ['line\n', 'no line', '', 'null'])
    expect(await run('cat', { tty: true, stdin, timeout: 10_000 })).toMatchObject({ reason: 'exit', exitCode: 0 });
});

for (const options of [{}, { user: '1000:1000' }, { init: false }, { idMap: 'auto' }] as const)
  rootTest(`it is the console, too: ${JSON.stringify(options)}`, async () => {
    const script = 'tty; test -w /dev/console && echo seen > /dev/console; stat -c %t:%T $(tty) /dev/console';
    const { stdout } = await run('sh', ['-c', script], { ...options, tty: true });
    expect(stdout).toBe('/dev/pts/0\r\nseen\r\n88:0\r\n88:0\r\n');
  });

rootTest('without one there is no console, and a mount or a device there stays what it is', async () => {
  const kind = ['-c', 'stat -c "%F %t:%T" /dev/console'];
  expect((await run('sh', kind)).stderr).toMatch(/No such file/);
  const devices = [{ path: '/dev/null', target: '/dev/console' }];
  for (const options of [{ devices }, { mounts: [{ source: '/dev/null', target: '/dev/console' }] }])
    expect((await run('sh', kind, { ...options, tty: true })).stdout).toBe('character special file 1:3\r\n');
});

rootTest('an input that ended before the program edits lines itself has ended for it, too', async () => {
  const options = { tty: true, env: { PS1: '', TERM: 'dumb' }, timeout: 10_000 };
  for (const stdin of ['', 'echo "sum $((1 + 1))"\n', 'exec sh\n'])
    expect(await run('bash', ['--norc', '-i'], { ...options, stdin })).toMatchObject({ reason: 'exit', exitCode: 0 });
  const edited = await run('bash', ['--norc', '-i'], { ...options, stdin: 'echo "sum $((1 + 1))"\n' });
  expect(edited.stdout).toMatch(/^sum 2\r$/m);
});

rootTest('who types more than anybody reads holds nobody up', () =>
  leavesNothing(async () => {
    const process = run('sleep', ['0.5'], { tty: true, stdin: 'pipe' });
    process.stdin.write('typed by somebody\n'.repeat(50_000));
    const before = globalThis.process.cpuUsage();
    expect(await Promise.race([process, delay(10_000, 'too late', { ref: false })])).toMatchObject({ exitCode: 0 });
    const { user, system } = globalThis.process.cpuUsage(before);
    expect(user + system).toBeLessThan(400_000);
  }),
);

rootTest('what was typed ahead is read by who reads late', async () => {
  const script = 'stty raw -echo; echo ready; sleep 0.3; head -c 900000 | wc -c';
  const process = run('sh', ['-c', script], { tty: true, stdin: 'pipe', timeout: 20_000 });
  process.stdout.once('data', () => process.stdin.write('typed by somebody\n'.repeat(50_000)));
  expect((await process).stdout).toMatch(/900000/);
});

rootTest('a program that closes its side of the terminal is not hung up on', async () => {
  for (const init of [true, false]) {
    const script = 'exec <&- >&- 2>&-; sleep 0.2; exit 3';
    expect(await run('sh', ['-c', script], { tty: true, init })).toMatchObject({ reason: 'exit', exitCode: 3 });
  }
});

rootTest('whose output is iterated over ends like any other', async () => {
  const process = run('echo', ['there'], { tty: true });
  let text = '';
  for await (const { data } of process) text += data;
  expect([text, (await process).stdout]).toEqual(['there\r\n', 'there\r\n']);
});

rootTest('several are attached; the program waits for the slowest, and all hear of the end', () =>
  leavesNothing(async () => {
    await using container = await Container.create({ command: ['sh', '-c', 'read x; seq 1 1000000'], stdin: 'pipe' });
    const [quick, slow] = [container.attach(), container.attach()];
    let bytes = 0;
    quick.on('data', (data: Buffer) => {
      bytes += data.length;
    });
    await container.start();
    slow.write('go\n');
    await delay(300);
    // What pipe and streams hold: the rest is yet to be written.
    expect(bytes).toBeLessThan(1_000_000);
    expect(container.status).toBe('running');
    let read = 0;
    for await (const data of slow) read += (data as Buffer).length;
    await container.wait();
    expect([bytes, read]).toEqual([6_888_896, 6_888_896]);
    expect(await eventually(() => quick.closed && slow.closed)).toBe(true);
    // One key more, typed by somebody who does not know yet.
    slow.write('x');
  }),
);

rootTest('one who is attached and reads nothing holds up the program, but not its end', () =>
  leavesNothing(async () => {
    await using container = await Container.create({ command: ['seq', '1', '1000000'] });
    const attached = container.attach();
    await container.start();
    await delay(200);
    expect(container.status).toBe('running');
    await container.kill('SIGKILL');
    expect(await container.wait()).toMatchObject({ signal: 'SIGKILL' });
    await container.remove();
    attached.destroy();
  }),
);

rootTest('nor does he hold up those who have found the container', async () => {
  await using container = await Container.create({
    command: ['sh', '-c', 'sleep 0.3; seq 1 100000'],
    lifetime: { dieWithParent: false },
  });
  await container.start();
  const found = await Container.get(container.id);
  const attached = found.attach();
  expect(await found.wait({ timeout: 10_000 })).toMatchObject({ exitCode: 0 });
  let bytes = 0;
  for await (const data of attached) bytes += (data as Buffer).length;
  expect(bytes).toBe(588_895);
});

rootTest('who has found a container is told who writes to it', async () => {
  await using container = await Container.create({
    command: ['sleep', 'infinity'],
    lifetime: { dieWithParent: false },
  });
  await container.start();
  const attached = (await Container.get(container.id)).attach();
  const refused = once(attached, 'error');
  attached.write('x');
  const hint = expect.stringContaining('process that made the container');
  expect(await refused).toMatchObject([{ code: 'ERR_NS_NO_STDIN', hint }]);
});

rootTest('its size is for the process that has it to change', async () => {
  await using container = await Container.create({ command: ['sleep', 'infinity'], tty: true });
  await container.start();
  const found = await Container.get(container.id);
  expect(() => found.resize(size)).toThrow(expect.objectContaining({ code: 'ERR_NS_CONTAINER_NOT_OURS' }));
});

rootTest('who goes away leaves the program alone, and those who stay', async () => {
  await using container = await Container.create({ command: ['cat'], stdin: 'pipe' });
  await container.start();
  const attached = Array.from({ length: 15 }, () => container.attach());
  for (const one of attached.slice(1)) one.resume().destroy();
  let text = '';
  attached[0]!.on('data', (data: Buffer) => {
    text += data;
  });
  attached[0]!.write('still here');
  expect(await eventually(() => text === 'still here')).toBe(true);
  // As `echo … | program` of who pipes his own input into it.
  attached[0]!.end();
  expect(await container.wait()).toMatchObject({ reason: 'exit', exitCode: 0, stdout: 'still here' });
});

rootTest('however many are attached, Node warns of no leak', async () => {
  using program = new NodeProgram(
    'attached',
    `import { Container } from ${JSON.stringify(join(import.meta.dirname, '../src/index.ts'))};
     await using container = await Container.create({ command: ['cat'], stdin: 'pipe' });
     await container.start();
     const attached = Array.from({ length: 15 }, () => container.attach());
     for (const one of attached) one.resume();
     for (const one of attached.slice(1)) one.destroy();
     attached[0]!.end();
     process.stdout.write(String((await container.wait()).exitCode));`,
  );
  expect(await program.run()).toMatchObject({ stdout: '0', stderr: '' });
});

rootTest('a terminal stays when one of those who are at it goes away', async () => {
  await using container = await Container.create({ command: ['cat'], tty: true });
  const [first, second] = [container.attach(), container.attach()];
  let text = '';
  second.on('data', (data: Buffer) => {
    text += data;
  });
  await container.start();
  first.resume().end('one\n');
  expect(await eventually(() => text === 'one\r\none\r\n')).toBe(true);
  second.write('two\n');
  expect(await eventually(() => text.endsWith('two\r\ntwo\r\n'))).toBe(true);
});
