import { setTimeout as delay } from 'node:timers/promises';
import { eventually, needs, notRoot, processEntries } from '@ns/testing';
import fc from 'fast-check';
import { Pool, type PooledSandbox } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';
import { NodeProgram } from './node-program.ts';

const rootTest = needs(notRoot);
useOwnStateRoot();

/** Fails in a sandbox that was used before. */
const once = ['sh', '-c', 'test ! -e /used && touch /used && echo first'] as const;

/** Pids of the monitors of sandboxes: children of ours. */
function monitors(): number[] {
  return processEntries()
    .filter(({ parent, name, state }) => parent === process.pid && name === 'ns-monitor' && state !== 'Z')
    .map(({ pid }) => pid);
}

/** Nobody can take away who uses a volume. */
const unreleasable = `
  import { mkdirSync, readdirSync, rmSync } from 'node:fs';
  import { join } from 'node:path';
  import { Pool, Volume } from '../src/index.ts';
  const { name } = await Volume.create({ name: 'pooled' });
  const mounts = [{ type: 'volume', source: name, target: '/mnt' }];
  const pool = await Pool.create({ size: 2, template: { mounts } });
  const users = join(process.env.NS_STATE_ROOT, 'volumes', name, 'users');
  for (const user of readdirSync(users)) {
    rmSync(join(users, user));
    mkdirSync(join(users, user));
  }
  await pool.close().catch(({ code }) => console.log(code));
`;

async function isFull(pool: Pool): Promise<boolean> {
  await pool.settled();
  const { ready, waiting, making } = pool.state;
  return ready === pool.size && waiting + making === 0;
}

describe('a pool', () => {
  rootTest('runs each command in a sandbox of its own, which is made in advance', () =>
    leavesNothing(async () => {
      await using pool = await Pool.create({ size: 3, template: { hostname: 'pooled', env: { A: '1', B: '2' } } });
      expect(pool.state).toEqual({ ready: 3, claimed: 0, waiting: 0, making: 0 });
      const results = await Promise.all(Array.from({ length: 10 }, () => pool.run(once)));
      for (const result of results) expect(result).toMatchObject({ exitCode: 0, stdout: 'first\n', reason: 'exit' });
      const { stdout } = await pool.run('sh', ['-c', 'hostname; pwd; echo $A $B; cat'], {
        cwd: '/tmp',
        env: { B: '3' },
        stdin: 'input',
      });
      expect(stdout).toBe('pooled\n/tmp\n1 3\ninput');
      await pool.settled();
      expect(pool.state).toEqual({ ready: 3, claimed: 0, waiting: 0, making: 0 });
    }),
  );

  rootTest('keeps the limits of its template, and tells what was used', () =>
    leavesNothing(async () => {
      await using pool = await Pool.create({ size: 1, template: { limits: { memory: '32MiB', pids: 16 } } });
      expect(await pool.run('tail', ['/dev/zero'])).toMatchObject({ reason: 'oom', signal: 'SIGKILL' });
      expect((await pool.run('true')).usage.cpuUserMs).toBeGreaterThanOrEqual(0);
    }),
  );

  rootTest('tells how a command ended, whether it left something behind or not, and nothing stays', () =>
    leavesNothing(async () => {
      await using pool = await Pool.create({ size: 2 });
      expect(await pool.run('sh', ['-c', 'exit 3'])).toMatchObject({ exitCode: 3, reason: 'exit' });
      expect(await pool.run('sh', ['-c', 'kill -TERM $$'])).toMatchObject({ signal: 'SIGTERM', reason: 'signal' });
      // Under a name that no other test's has.
      const begin = 'ln -s "$(command -v sleep)" /tmp/pool-left; /tmp/pool-left 1234 & /tmp/pool-left 1234 &';
      const script = (code: string) => ['sh', '-c', `${begin} ${code}`];
      expect(await pool.run(script('exit 4'))).toMatchObject({ exitCode: 4, reason: 'exit' });
      expect(processEntries().filter(({ name }) => name === 'pool-left')).toEqual([]);
      expect(await pool.run(script('kill -KILL $$'))).toMatchObject({ signal: 'SIGKILL', reason: 'signal' });
      expect(await pool.run('/no/such/program')).toMatchObject({ exitCode: 127 });
      expect(await pool.run(['sh', '-c', 'exit 6'], { timeout: 60_000 })).toMatchObject({ exitCode: 6 });
      await using sandbox = await pool.acquire();
      const bytes = await sandbox.run(['echo', 'on'], { encoding: 'buffer' });
      expect(bytes.stdout).toEqual(Buffer.from('on\n'));
      // The end of its outputs is not its own.
      const silent = await pool.run('sh', ['-c', 'echo on; exec >&- 2>&-; sleep 0.2; exit 5']);
      expect(silent).toMatchObject({ exitCode: 5, stdout: 'on\n' });
      expect(silent.durationMs).toBeGreaterThan(200);
      const zombies = () => processEntries().filter(({ parent, state }) => parent === process.pid && state === 'Z');
      await eventually(() => zombies().length === 0);
    }),
  );

  rootTest('counts what a command has used with all that it has started, whoever has waited for it', () =>
    leavesNothing(async () => {
      await using pool = await Pool.create({ size: 1 });
      const work = 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done';
      const used = async (script: string) => {
        const { cpuUserMs, cpuSystemMs, memoryPeakBytes } = (await pool.run('sh', ['-c', script])).usage;
        expect(memoryPeakBytes).toBeGreaterThan(500_000);
        return cpuUserMs! + cpuSystemMs!;
      };
      const [nothing, own] = [await used(':'), await used(work)];
      expect(own).toBeGreaterThan(nothing + 10);
      expect(await used(`(${work}) & wait`)).toBeGreaterThan(own / 4);
      // The init waits for this one, and in the second case the kernel ends another.
      const orphan = `(sh -c '${work}; exec >/tmp/done' &); until [ -e /tmp/done ]; do sleep 0.01; done; sleep 0.05`;
      expect(await used(orphan)).toBeGreaterThan(own / 4);
      expect(await used(`sleep 1234 & ${orphan}`)).toBeGreaterThan(own / 4);
    }),
  );

  rootTest('loses no sandbox to a command that cannot be right', () =>
    leavesNothing(async () => {
      await using pool = await Pool.create({ size: 2 });
      const wrong = [[undefined], [5], [[]], ['true', 5], ['true', null], ['true', [7]]] as unknown[][];
      for (const call of wrong)
        await expect(pool.run(...(call as Parameters<Pool['run']>))).rejects.toMatchObject({
          code: 'ERR_NS_INVALID_SPEC',
        });
      await eventually(async () => (await isFull(pool)) && pool.state.claimed === 0);
      expect(monitors()).toHaveLength(2);
    }),
  );

  rootTest(
    'refuses wrong options as all calls do, and is rid of a sandbox whose command was refused or called off',
    () =>
      leavesNothing(async () => {
        await using pool = await Pool.create({ size: 2 });
        const rejections: unknown[] = [];
        const note = (reason: unknown) => rejections.push(reason);
        process.on('unhandledRejection', note);
        for (const options of [{ stdin: 7 }, { maxOutput: { bytes: 'x' } }, { timeout: 'soon' }] as object[])
          await expect(pool.run('echo', [], options)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
        const refused = await pool.acquire();
        const bad = refused.run('true', 5 as never);
        await expect(refused.run('true')).rejects.toMatchObject({ code: 'ERR_NS_SANDBOX_USED' });
        await expect(bad).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
        const calledOff = await pool.acquire();
        expect(await calledOff.run('true', { signal: AbortSignal.abort() })).toMatchObject({ reason: 'abort' });
        await eventually(async () => (await isFull(pool)) && pool.state.claimed === 0);
        await pool.drain();
        process.off('unhandledRejection', note);
        expect(rejections).toEqual([]);
      }),
  );

  rootTest('what of a sandbox cannot be given back is said by who closes the pool, and by nobody else', async () => {
    const program = new NodeProgram('unused', unreleasable);
    try {
      expect(await program.run()).toMatchObject({ exitCode: 0, stdout: 'EISDIR\n', stderr: '' });
    } finally {
      program[Symbol.dispose]();
    }
  });

  rootTest('reads, streams and limits output as run does', () =>
    leavesNothing(async () => {
      await using pool = await Pool.create({ size: 2 });
      const million = ['sh', '-c', 'head -c 1000000 /dev/zero; echo err >&2'] as const;
      const read = await pool.run(million, [], { encoding: 'buffer' });
      expect({ length: read.stdout.length, stderr: String(read.stderr) }).toEqual({
        length: 1_000_000,
        stderr: 'err\n',
      });
      expect(await pool.run(million, [], { maxOutput: { bytes: 1000, onExceed: 'kill' } })).toMatchObject({
        reason: 'output-limit',
        truncated: true,
      });
      await using sandbox = await pool.acquire();
      const process = sandbox.run(million);
      let streamed = 0;
      for await (const { fd, data } of process) if (fd === 1) streamed += data.length;
      expect(streamed).toBe(1_000_000);
      expect((await process).exitCode).toBe(0);
    }),
  );

  rootTest('ends a command after its time or when it is given up, and everything with it', () =>
    leavesNothing(async () => {
      await using pool = await Pool.create({ size: 2 });
      expect(await pool.run('sh', ['-c', 'sleep 600 & sleep 600'], { timeout: 100 })).toMatchObject({
        reason: 'timeout',
      });
      const abort = new AbortController();
      const run = pool.run('sleep', ['600'], { signal: abort.signal });
      expect(await eventually(() => pool.state.claimed === 1)).toBe(true);
      abort.abort();
      expect(await run).toMatchObject({ reason: 'abort' });
      await expect(pool.run('true', [], { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before');
    }),
  );

  rootTest('a sandbox runs one command', () =>
    leavesNothing(async () => {
      await using pool = await Pool.create({ size: 1 });
      const sandbox = await pool.acquire();
      expect((await sandbox.run('true')).exitCode).toBe(0);
      await expect(sandbox.run('true')).rejects.toMatchObject({ code: 'ERR_NS_SANDBOX_USED' });
      const wrong = await pool.acquire();
      await expect(wrong.run('true', [], { cwd: 'relative' })).rejects.toMatchObject({ field: 'cwd' });
      const missing = await pool.acquire();
      expect(await missing.run('no-such-command')).toMatchObject({ exitCode: 127 });
      await Promise.all([wrong.ended, missing.ended]);
      expect(pool.state.claimed).toBe(0);
    }),
  );

  rootTest('callers wait in order, not for ever, and not too many of them', () =>
    leavesNothing(async () => {
      await using pool = await Pool.create({ size: 1, maxWaiting: 3 });
      const first = await pool.acquire();
      const abort = new AbortController();
      // In the same turn, so that no sandbox can be made in between.
      const waiting = [pool.acquire({ timeout: 0 }), pool.acquire({ signal: abort.signal }), pool.acquire()] as const;
      const settled = Promise.allSettled(waiting);
      await expect(pool.acquire()).rejects.toMatchObject({ code: 'ERR_NS_POOL_BUSY' });
      abort.abort(new Error('given up'));
      const outcomes = await settled;
      expect(outcomes[1]).toMatchObject({ status: 'rejected', reason: { message: 'given up' } });
      const { value } = outcomes[2] as PromiseFulfilledResult<PooledSandbox>;
      expect(value.id).not.toBe(first.id);
      await pool.settled();
      expect(pool.state).toMatchObject({ ready: 1, waiting: 0, making: 0 });
      await expect(pool.acquire({ timeout: -1 })).rejects.toMatchObject({ field: 'timeout' });
    }),
  );

  rootTest('sandboxes that are killed while they wait are replaced', () =>
    leavesNothing(async () => {
      await using pool = await Pool.create({ size: 3 });
      const before = monitors();
      expect(before).toHaveLength(3);
      for (const pid of before) process.kill(pid, 'SIGKILL');
      // They are gone, and we have had no chance to hear of it.
      while (monitors().length > 0);
      expect(await pool.run(once)).toMatchObject({ exitCode: 0 });
      expect(await eventually(() => isFull(pool))).toBe(true);
      expect(monitors().filter((pid) => before.includes(pid))).toEqual([]);
    }),
  );

  rootTest('one that cannot be made says why', () =>
    leavesNothing(async () => {
      const template = { rootfs: '/nonexistent-root' };
      await expect(Pool.create({ size: 2, template })).rejects.toMatchObject({ code: 'ERR_NS_ROOTFS' });
      for (const field of ['name', 'stdin', 'command', 'tty', 'timeout'])
        await expect(Pool.create({ template: { [field]: 'x' } })).rejects.toMatchObject({ field: `template.${field}` });
      await expect(Pool.create({ template: { network: 'user' } })).rejects.toMatchObject({ field: 'template.network' });
    }),
  );

  rootTest('close ends all, also what runs and who waits', () =>
    leavesNothing(async () => {
      const pool = await Pool.create({ size: 1 });
      const running = pool.run('sleep', ['600']);
      const waiting = pool.acquire();
      const outcome = expect(waiting).rejects.toMatchObject({ code: 'ERR_NS_POOL_CLOSED' });
      await Promise.all([pool.close(), pool.close()]);
      await outcome;
      expect(await running).toMatchObject({ signal: 'SIGKILL' });
      await expect(pool.run('true')).rejects.toMatchObject({ code: 'ERR_NS_POOL_CLOSED' });
    }),
  );

  rootTest('drain lets those who have or wait for a sandbox finish', () =>
    leavesNothing(async () => {
      const pool = await Pool.create({ size: 1 });
      const runs = Array.from({ length: 4 }, () => pool.run(once));
      const drained = pool.drain();
      await expect(pool.acquire()).rejects.toMatchObject({ code: 'ERR_NS_POOL_CLOSED' });
      expect((await Promise.all(runs)).map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0]);
      await drained;
      expect(pool.state).toEqual({ ready: 0, claimed: 0, waiting: 0, making: 0 });
    }),
  );

  rootTest('drain has no more patience than it was given', () =>
    leavesNothing(async () => {
      const pool = await Pool.create({ size: 1 });
      const running = pool.run('sleep', ['600']);
      await pool.drain({ timeout: 50 });
      expect(await running).toMatchObject({ signal: 'SIGKILL' });
    }),
  );

  rootTest(
    'whatever happens, no sandbox is handed out twice and none is left',
    () =>
      leavesNothing(async () => {
        const operation = fc.constantFrom('run', 'acquire', 'release', 'use', 'kill', 'give up', 'pause', 'settle');
        await fc.assert(
          fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 25 }), async (operations) => {
            const pool = await Pool.create({ size: 2 });
            const ids: string[] = [];
            const held: PooledSandbox[] = [];
            const pending: Promise<unknown>[] = [];
            const take = async (signal?: AbortSignal) => {
              try {
                const sandbox = await pool.acquire(signal ? { signal } : {});
                ids.push(sandbox.id);
                held.push(sandbox);
              } catch (error) {
                if (!signal?.aborted) throw error;
              }
            };
            const use = async (command: Promise<{ exitCode: number | null; signal: string | null }>) => {
              // Killed by us it may be, before its command or during it; used before never.
              const end = await command.catch(({ code }) => ({ exitCode: 0, signal: code as string }));
              if (end.signal === null) expect(end.exitCode).toBe(0);
              else expect(['SIGKILL', 'ERR_NS_SANDBOX_GONE']).toContain(end.signal);
            };
            const actions: Record<string, () => unknown> = {
              run: () => pending.push(use(pool.run(once))),
              acquire: () => pending.push(take()),
              'give up': () => {
                const abort = new AbortController();
                pending.push(take(abort.signal));
                abort.abort();
              },
              release: () => pending.push(held.pop()?.[Symbol.asyncDispose]() ?? Promise.resolve()),
              use: () => {
                const sandbox = held.pop();
                if (sandbox) pending.push(use(Promise.resolve(sandbox.run(once))));
              },
              kill: () => {
                const [pid] = monitors();
                if (pid !== undefined) process.kill(pid, 'SIGKILL');
              },
              pause: () => delay(2),
              settle: () => pool.settled(),
            };
            for (const name of operations) await actions[name]!();
            await Promise.all(pending);
            expect(new Set(ids).size).toBe(ids.length);
            expect(await eventually(() => isFull(pool))).toBe(true);
            await pool.close();
            expect(pool.state).toEqual({ ready: 0, claimed: 0, waiting: 0, making: 0 });
          }),
          { numRuns: 20 },
        );
      }),
    120_000,
  );
});
