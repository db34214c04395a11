import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { needs, notRoot } from '@ns/testing';
import { Container, ContainerStartError, ProcessFailedError, type RunOptions, run, Wait } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* What is found out only when a container is made: a clear error, and nothing left behind. */

const rootTest = needs(notRoot);
useOwnStateRoot();
let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'core-bad-'));
  writeFileSync(join(scratch, 'script'), '#!/no/such/interpreter\n', { mode: 0o755 });
  writeFileSync(join(scratch, 'noise'), 'not a program\0\n', { mode: 0o755 });
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const inScratch = (): RunOptions => ({ mounts: [{ source: scratch, target: '/scratch', readonly: true }] });

describe('a command that cannot run ends as in a shell', () => {
  for (const [command, exitCode, errno] of [
    ['no-such-command', 127, 'ENOENT'],
    ['./no-such-file', 127, 'ENOENT'],
    ['/etc/passwd/below-a-file', 127, 'ENOTDIR'],
    ['/scratch/script', 127, 'ENOENT'],
    ['/etc/passwd', 126, 'EACCES'],
    ['/etc', 126, 'EACCES'],
    ['/scratch/noise', 126, 'ENOEXEC'],
  ] as const) {
    rootTest(`${command}: ${exitCode}`, () =>
      leavesNothing(async () => {
        const result = await run(command, [], inScratch());
        expect(result).toMatchObject({ exitCode, signal: null, reason: 'exit', stdout: '' });
        expect(result.stderr).toContain(command);
        expect(result.stderr).toContain(errno);
        const failed = await run(command, [], { ...inScratch(), check: true }).catch((error) => error);
        expect(failed).toBeInstanceOf(ProcessFailedError);
        expect(failed).toMatchObject({ code: 'ERR_NS_PROCESS_FAILED', exitCode });
      }),
    );
  }

  rootTest('and says why in words', () =>
    leavesNothing(async () => {
      expect((await run('/scratch/noise', [], inScratch())).stderr).toBe(
        '/scratch/noise: cannot be executed: exec format error (ENOEXEC)\n',
      );
      await expect(run('true', ['x'.repeat(200_000)], { check: true })).rejects.toMatchObject({
        exitCode: 126,
        stderr: 'true: cannot be executed: argument list too long (E2BIG)\n',
        hint: expect.stringContaining('how long its arguments are'),
      });
    }),
  );

  rootTest('start() of a container rejects, and wait() does', () =>
    leavesNothing(async () => {
      const container = await Container.create({ command: ['no-such-command'] });
      const error = await container.start().catch((reason) => reason);
      expect(error).toBeInstanceOf(ContainerStartError);
      expect(error).toMatchObject({ code: 'ERR_NS_COMMAND_NOT_FOUND', exitCode: 127, errnoCode: 'ENOENT' });
      expect(container.status).toBe('stopped');
      await expect(container.wait()).rejects.toMatchObject({ code: 'ERR_NS_COMMAND_NOT_FOUND' });
      await container.remove();
    }),
  );
});

describe('beginners are told what to do', () => {
  rootTest('about arguments in the name of the program', () =>
    leavesNothing(async () => {
      const apart = { hint: expect.stringContaining('strings of their own') };
      await expect(run('echo hello', [], { check: true })).rejects.toMatchObject(apart);
      await using container = await Container.create({ command: ['echo hello'] });
      await expect(container.start()).rejects.toMatchObject(apart);
    }),
  );

  rootTest('about a container that is gone', () =>
    leavesNothing(async () => {
      const container = await Container.create({ command: ['true'] });
      await container.remove();
      await expect((async () => container.exec('true'))()).rejects.toThrow('Create another one');
    }),
  );
});

describe('a container that cannot be made', () => {
  const code = 'ERR_NS_CONTAINER_START';
  rootTest('for want of the memory that its setup takes', () =>
    leavesNothing(async () => {
      const mounts = [{ type: 'file', target: '/big', content: 'x'.repeat(4_000_000) }] as const;
      const spec = { command: ['true'], limits: { memory: '1MiB' }, mounts } as const;
      const error = await Container.create(spec).catch((reason) => reason);
      expect(error).toBeInstanceOf(ContainerStartError);
      expect(error).toMatchObject({ code, hint: expect.stringContaining('limits.memory') });
    }),
  );

  for (const [what, options, expected] of [
    [
      'a rootfs that is missing',
      { rootfs: '/no/such' },
      { code: 'ERR_NS_ROOTFS', message: expect.stringContaining('/no/such does not exist'), hint: expect.any(String) },
    ],
    [
      'a rootfs that is a file',
      { rootfs: '/etc/passwd' },
      { code: 'ERR_NS_ROOTFS', message: expect.stringContaining('is not a directory') },
    ],
    [
      'ids of its own in the user namespace of the host',
      { idMap: 'auto', namespaces: { user: 'host' } },
      { code: 'ERR_NS_INVALID_SPEC', field: 'idMap' },
    ],
    [
      'an upper directory that is missing',
      { writable: { upper: '/no/such', work: '/tmp' } },
      { code: 'ERR_NS_ROOTFS', message: expect.stringContaining('writable.upper: /no/such does not exist') },
    ],
    ['a label for its files', { selinux: { mount: 'u:r:t' } }, { code: 'ERR_NS_UNAVAILABLE' }],
    ['a layer that is missing', { rootfs: { layers: ['/usr', '/no/such'] } }, { code: 'ERR_NS_ROOTFS' }],
    ['a cwd that is a file', { cwd: '/etc/passwd' }, { code, errnoCode: 'ENOTDIR', step: { op: 'workingDirectory' } }],
    [
      'a mount whose source is missing',
      { mounts: [{ source: '/no/such', target: '/x' }] },
      { code: 'ERR_NS_MOUNT_SOURCE', hint: expect.any(String) },
    ],
    [
      'a mount whose source has too long a name',
      { mounts: [{ source: `/${'x'.repeat(256)}`, target: '/x' }] },
      { code: 'ERR_NS_MOUNT_SOURCE', hint: expect.stringContaining('255') },
    ],
    [
      'a mount whose source is in a file',
      { mounts: [{ source: '/etc/passwd/x', target: '/x' }] },
      { code: 'ERR_NS_MOUNT_SOURCE', hint: expect.stringContaining('directory') },
    ],
    ['a user nobody knows', { user: 'no-such-user' }, { code: 'ERR_NS_INVALID_SPEC', field: 'user' }],
    ['a user id that does not fit', { user: '4294967296' }, { code: 'ERR_NS_INVALID_SPEC', field: 'user' }],
    ['a user id that means "unchanged"', { user: '4294967295' }, { code: 'ERR_NS_INVALID_SPEC', field: 'user' }],
    [
      'a capability that does not exist',
      { capabilities: { add: ['NET_ADMI'] } },
      { field: 'capabilities.add[0]', hint: expect.stringContaining('CAP_NET_ADMIN') },
    ],
    [
      'a seccomp profile that is missing',
      { seccomp: '/no/such.json' },
      { code: 'ERR_NS_INVALID_SPEC', field: 'seccomp' },
    ],
    ['a device that is missing', { devices: ['/dev/no-such'] }, { code: 'ERR_NS_DEVICE' }],
    [
      'a parameter of the whole machine',
      { sysctls: { 'kernel.core_pattern': '|/bin/sh' } },
      { field: 'sysctls.kernel.core_pattern' },
    ],
    [
      'a parameter that does not exist',
      { sysctls: { 'net.ipv4.no_such': 1 } },
      { code, step: { op: 'sysctl' }, errnoCode: 'ENOENT' },
    ],
    [
      'a parameter by a trick',
      { sysctls: { 'net.../../kernel/core_pattern': '|/bin/sh' } },
      { code: 'ERR_NS_INVALID_SPEC' },
    ],
    [
      'the network of a container that is not there',
      { network: { container: 'no-such' } },
      { code: 'ERR_NS_CONTAINER_NOT_FOUND' },
    ],
    ['a file that is no namespace', { network: { path: '/etc/passwd' } }, { code: expect.any(String) }],
    ['a namespace of another kind', { network: { path: '/proc/self/ns/uts' } }, { code: expect.any(String) }],
    ['a misspelt limit', { limits: { memry: 1 } }, { field: 'limits.memry', hint: expect.stringContaining('memory') }],
    ['a limit without a unit anybody knows', { limits: { memory: '1 parsec' } }, { field: 'limits.memory' }],
    [
      'id ranges that overlap',
      {
        idMap: {
          uids: [
            { container: 0, host: 1, size: 9 },
            { container: 3, host: 99, size: 9 },
          ],
          gids: [{ container: 0, host: 1, size: 9 }],
        },
      },
      { code: 'ERR_NS_INVALID_SPEC' },
    ],
  ] as [string, RunOptions, object][]) {
    rootTest(what, () =>
      leavesNothing(async () => {
        const { step, ...rest } = expected as { step?: object };
        const error = await run('true', [], options).catch((reason: unknown) => reason);
        expect(error).toMatchObject(rest);
        if (step) expect((error as ContainerStartError).step).toMatchObject(step);
        await expect(Container.create({ command: ['true'], ...options })).rejects.toMatchObject(rest);
      }),
    );
  }

  rootTest('what is no option at all is a rejection too, never a throw', async () => {
    const wrong = [5, undefined, null, [], '', 'a\0b'] as unknown as string[];
    for (const command of wrong)
      await expect(run(command)).rejects.toMatchObject({ field: expect.stringMatching(/^command/) });
    await expect(run('true', [], { signal: 'x' } as unknown as RunOptions)).rejects.toMatchObject({ field: 'signal' });
    await expect(run('true', [], { hostnam: 'x' } as RunOptions)).rejects.toMatchObject({
      hint: expect.stringContaining('hostname'),
    });
    const streams = run('');
    await expect(streams).rejects.toMatchObject({ field: 'command' });
    expect([streams.stdout.destroyed, streams.stderr.destroyed]).toEqual([true, true]);
  });
});

describe('a large environment', () => {
  const variables = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`V${i}`, 'x'.repeat(1000)]));

  rootTest('of 1 MB arrives', async () => {
    const { stdout } = await run('sh', ['-c', 'cat /proc/self/environ | wc -c'], { env: variables(1060) });
    expect(Number(stdout)).toBeGreaterThan(2 ** 20);
  });

  for (const [what, env] of [
    ['one variable of 1 MB', { BIG: 'x'.repeat(2 ** 20) }],
    ['8 MB of variables', variables(8192)],
  ] as const) {
    rootTest(`${what} is more than the kernel takes`, () =>
      leavesNothing(async () => {
        expect(await run('true', [], { env })).toMatchObject({
          exitCode: 126,
          stderr: expect.stringContaining('E2BIG'),
        });
      }),
    );
  }
});

describe('abort', () => {
  rootTest('before the start: nothing runs', () =>
    leavesNothing(async () => {
      const process = run('sleep', ['60'], { signal: AbortSignal.abort() });
      expect(process.pid).toBeUndefined();
      expect(await process).toMatchObject({ reason: 'abort', exitCode: null, stdout: '' });
      await expect(Container.create({ command: ['true'] }, { signal: AbortSignal.abort() })).rejects.toMatchObject({
        name: 'AbortError',
      });
    }),
  );

  rootTest('at any moment of the start', () =>
    leavesNothing(async () => {
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, i) => {
          const controller = new AbortController();
          if (i === 0) queueMicrotask(() => controller.abort());
          else setTimeout(() => controller.abort(), i);
          return run('sleep', ['60'], { signal: controller.signal, ...(i % 2 && { limits: { memory: '64MiB' } }) });
        }),
      );
      expect(new Set(results.map(({ reason }) => reason))).toEqual(new Set(['abort']));
    }),
  );

  rootTest('while it runs: at once, with what it wrote', () =>
    leavesNothing(async () => {
      const controller = new AbortController();
      const process = run('sh', ['-c', 'echo begun; (setsid sleep 600 &); sleep 600'], { signal: controller.signal });
      process.stdout.once('data', () => controller.abort());
      expect(await process).toMatchObject({ reason: 'abort', stdout: 'begun\n' });
    }),
  );

  rootTest('after the end: nothing', async () => {
    const controller = new AbortController();
    const result = await run('echo', ['done'], { signal: controller.signal });
    controller.abort();
    await delay(10);
    expect(result).toMatchObject({ reason: 'exit', exitCode: 0, stdout: 'done\n' });
  });
});

rootTest('one process is too few for an init and a command, and the error says so', async () => {
  const limits = { pids: 1 };
  await expect(run('true', [], { limits })).rejects.toMatchObject({
    code: 'ERR_NS_CONTAINER_START',
    errnoCode: 'EAGAIN',
    hint: expect.stringMatching(/limits\.pids, which counts the init.*init: false/),
  });
  expect(await run('true', [], { limits, init: false })).toMatchObject({ exitCode: 0 });
});

rootTest('a call that is written wrong says what is wrong with it', async () => {
  const wrong = run as (...call: unknown[]) => PromiseLike<unknown>;
  for (const [call, field] of [
    [['echo', 'a'], 'args'],
    [['echo', null], 'args'],
    [['echo', [], 'a'], 'options'],
    [['echo', [], null], 'options'],
    [['echo', [], []], 'options'],
    [['echo', [], { command: ['rm'] }], 'command'],
    [[['echo'], { command: ['rm'] }], 'command'],
  ] as const)
    await expect(wrong(...call)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field });

  await using c = await Container.create({ command: ['sleep', 'infinity'] });
  await c.start();
  const exec = c.exec.bind(c) as (...call: unknown[]) => PromiseLike<unknown>;
  await expect(exec('echo', 'a')).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: 'args' });
  await expect(exec('echo', [], null)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: 'options' });
  const process = c.exec('cat', [], { tty: true, stdin: 'pipe' });
  await process.started;
  expect(() => process.resize({ cols: 80, rows: 24 } as never)).toThrow(/columns/);
  expect(() => process.resize({ columns: 0, rows: 24 })).toThrow(/columns/);
  process.kill('SIGKILL');
  await process;
});

rootTest('what only a container that lives on can have is no misspelt option of run()', async () => {
  for (const option of [{ restart: 'always' }, { wait: Wait.exit() }, { log: {} }])
    await expect(run('true', [], option as RunOptions)).rejects.toMatchObject({
      field: Object.keys(option)[0],
      hint: expect.stringContaining('Container.create()'),
    });
});

rootTest('a file that is bound to a directory is told apart from one', async () => {
  const mounts = [{ source: '/etc/passwd', target: '/etc' }];
  await expect(run('true', [], { mounts })).rejects.toMatchObject({
    code: 'ERR_NS_CONTAINER_START',
    hint: expect.stringMatching(/directory goes on a directory/),
  });
});
