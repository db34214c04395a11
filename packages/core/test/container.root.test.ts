import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, needs, notRoot, processesInNamespace } from '@ns/testing';
import { Container, type ContainerEvent, Pool, run } from '../src/index.ts';
import { cgroupDirectories, leavesNothing, remaining, useOwnStateRoot } from './leaves-nothing.ts';

/* A container over its whole life, and commands inside. */

const rootTest = needs(notRoot);
useOwnStateRoot();
type Spec = Parameters<typeof Container.create>[0];

/** Lets a test have a container that is removed after it. */
async function withContainer(spec: Partial<Spec>, use: (container: Container) => Promise<void>): Promise<void> {
  await leavesNothing(async () => {
    const container = await Container.create({ command: ['sleep', '600'], ...spec });
    try {
      await use(container);
    } finally {
      await container.remove({ force: true });
    }
  });
}

async function withRunning(spec: Partial<Spec>, use: (container: Container) => Promise<void>): Promise<void> {
  await withContainer(spec, async (container) => {
    await container.start();
    await use(container);
  });
}

const inside = (container: Container, script: string, options = {}) => container.exec('sh', ['-c', script], options);
const cmdlines = (namespace: string) =>
  processesInNamespace('pid', namespace).map((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(),
  );

describe('its life', () => {
  rootTest('created, running, stopped, removed', () =>
    withContainer({ command: ['sh', '-c', 'echo hello; read line; exit 5'], stdin: 'pipe' }, async (container) => {
      expect(container.status).toBe('created');
      expect(container.id).toMatch(/^[0-9a-f]{64}$/);
      const early = container.wait();
      // Everything is prepared, the program is not there yet.
      expect(readFileSync(`/proc/${container.pid}/comm`, 'utf8')).toBe('ns-init\n');
      await container.start();
      expect(container.status).toBe('running');
      await expect(container.start()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_RUNNING' });
      await expect(container.remove()).rejects.toMatchObject({
        code: 'ERR_NS_CONTAINER_RUNNING',
        hint: expect.stringContaining('force'),
      });
      container.stdin!.end('go\n');
      const [first, second] = await Promise.all([early, container.wait()]);
      expect(first).toMatchObject({ exitCode: 5, reason: 'exit', stdout: 'hello\n' });
      expect(second).toBe(first);
      expect([container.status, container.pid]).toEqual(['stopped', undefined]);
      await container.remove();
      await container.remove();
      expect(container.status).toBe('removed');
    }),
  );

  rootTest('operations that its state does not allow say so, by code', () =>
    withContainer({}, async (container) => {
      await expect(inside(container, 'true')).rejects.toMatchObject({
        code: 'ERR_NS_CONTAINER_NOT_RUNNING',
        status: 'created',
        hint: expect.stringContaining('start()'),
      });
      await expect(container.pause()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_RUNNING' });
      await container.start();
      await container.kill();
      for (const act of [
        () => container.kill(),
        () => container.stats(),
        () => container.update({ limits: { pids: 5 } }),
        () => inside(container, 'true'),
      ])
        await expect((async () => act())()).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_NOT_RUNNING' });
      await container.stop();
    }),
  );

  rootTest('stop asks first and ends after the grace; kill says who and how', async () => {
    const trap = 'trap "echo asked; exit 3" TERM; echo ready; while :; do sleep 0.02; done';
    await withRunning({ command: ['sh', '-c', trap] }, async (container) => {
      for await (const { data } of container.logs({ follow: true })) if (data.includes('ready')) break;
      await container.stop();
      expect(await container.wait()).toMatchObject({ exitCode: 3, stdout: 'ready\nasked\n' });
    });
    await withRunning(
      { command: ['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.1; done'] },
      async (container) => {
        for await (const { data } of container.logs({ follow: true })) if (data.includes('ready')) break;
        const begun = performance.now();
        await container.stop({ timeout: 200 });
        expect(performance.now() - begun).toBeGreaterThan(190);
        expect(await container.wait()).toMatchObject({ signal: 'SIGKILL' });
      },
    );
    await withRunning({ stopSignal: 'SIGINT' }, async (container) => {
      await container.stop();
      expect(await container.wait()).toMatchObject({ signal: 'SIGINT' });
    });
    await withRunning({}, async (container) => {
      await expect(container.kill('SIGFOO' as NodeJS.Signals)).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
      const namespace = readlinkSync(`/proc/${container.pid}/ns/pid`);
      await container.kill();
      expect(processesInNamespace('pid', namespace)).toEqual([]);
    });
  });

  rootTest('restart keeps the files and begins anew', () =>
    withRunning({ command: ['sh', '-c', 'cat /kept 2>/dev/null; echo run >> /kept; sleep 600'] }, async (container) => {
      // Its own program may not have got that far.
      const written = (times: number) => `until [ "$(grep -c run /kept)" = ${times} ]; do sleep 0.01; done`;
      await inside(container, `${written(1)}; echo by exec >> /kept; mkdir -p /deep/er; rm /etc/hostname`);
      const { pid } = container;
      await container.restart({ timeout: 0 });
      expect(container.pid).not.toBe(pid);
      const seen = await inside(container, `${written(2)}; cat /kept; ls -d /deep/er; ls /etc/hostname 2>&1`);
      expect(seen.stdout).toMatch(/^run\nby exec\nrun\n\/deep\/er\n/);
    }),
  );

  rootTest('a container whose init is killed from outside is stopped', () =>
    withRunning({}, async (container) => {
      process.kill(container.pid!, 'SIGKILL');
      expect(await container.wait()).toMatchObject({ signal: 'SIGKILL', reason: 'signal' });
      expect(container.status).toBe('stopped');
    }),
  );
});

describe('exec', () => {
  rootTest('has the resource limits and the OOM score of the container', async () => {
    const limits = { rlimits: { nofile: { soft: 64, hard: 128 } }, oomScoreAdj: 500 };
    await using container = await Container.create({ command: ['sleep', '60'], ...limits });
    await container.start();
    const script = 'ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj';
    for (const options of [{}, { user: '1000' }])
      expect((await inside(container, script, options)).stdout).toBe('64\n128\n500\n');
  });

  rootTest('a limit on processes of its user is for what it makes, not for what makes it', async () => {
    const rlimits = { nproc: 1, nofile: { soft: -1, hard: -1 } } as const;
    const one = { command: ['sleep', '60'], user: '54321', rlimits: { nproc: 1 } };
    await using container = await Container.create(one);
    await container.start();
    expect((await container.exec('sh', ['-c', 'ulimit -p || ulimit -u'], { user: '54322' })).stdout).toBe('1\n');
    expect(String(Container.explain({ ...one, rlimits }))).toContain('limit nofile to Infinity (hard Infinity)');
  });

  rootTest("limits that the setup could not live with are the program's alone", async () => {
    const rlimits = { nofile: 5, fsize: 0 };
    await using container = await Container.create({ command: ['sleep', '60'], rlimits });
    await container.start();
    expect((await inside(container, 'ulimit -n')).stdout).toBe('5\n');
    expect((await run('sh', ['-c', 'ulimit -n'], { rlimits })).stdout).toBe('5\n');
    // A sandbox of a pool has the program's limits when it hears of the program.
    await expect(Pool.create({ template: { rlimits } })).rejects.toMatchObject({ field: 'template.rlimits.nofile' });
    await using pool = await Pool.create({ size: 1, template: { rlimits: { nofile: 64 } } });
    expect((await pool.run('sh', ['-c', 'ulimit -n'])).stdout).toBe('64\n');
  });

  rootTest("without input it reads the container's own /dev/null, not the host's", () =>
    withRunning({}, async (container) => {
      const { stdout } = await container.exec('stat', ['-L', '-c', '%d %t:%T', '/proc/self/fd/0'], { stdin: 'null' });
      const [device, node] = stdout.trim().split(' ');
      expect(node).toBe('1:3');
      // Through the host's own one, root inside could take it away from everybody with fchmod.
      expect(Number(device)).not.toBe(statSync('/dev/null').dev);
    }),
  );

  rootTest('is inside: namespaces, user, environment, directory, cgroup, security', () =>
    withRunning(
      { env: { A: '1' }, hostname: 'inside', cwd: '/usr', limits: { memory: '128MiB' } },
      async (container) => {
        const script =
          'hostname; pwd; echo $A$B; grep -E "^(CapEff|Seccomp|NoNewPrivs|CapInh):" /proc/self/status | tr "\\t\\n" "  "; echo; for n in pid mnt net uts ipc cgroup; do readlink /proc/self/ns/$n; done';
        const { stdout } = await inside(container, script, { env: { B: '2' } });
        const lines = stdout.trim().split('\n');
        expect(lines.slice(0, 3)).toEqual(['inside', '/usr', '12']);
        expect(lines[3]).toMatch(/CapInh: 0+ CapEff: 00000000a80425fb NoNewPrivs: 1 Seccomp: 2/);
        expect(lines.slice(4)).toEqual(
          ['pid', 'mnt', 'net', 'uts', 'ipc', 'cgroup'].map((kind) =>
            readlinkSync(`/proc/${container.pid}/ns/${kind}`),
          ),
        );
        const other = await inside(container, 'id -u; pwd; umask', { user: '77:88', cwd: '/tmp', umask: 0o027 });
        expect(other.stdout).toBe('77\n/tmp\n0027\n');
        const session = await inside(container, 'set -- $(cat /proc/self/stat); echo $(( $6 != 0 ))');
        expect(session.stdout).toBe('1\n');
        expect(await container.exec('no-such')).toMatchObject({ exitCode: 127 });
        expect((await container.exec(['echo', 'as one'])).stdout).toBe('as one\n');
      },
    ),
  );

  rootTest('settled is gone: also what has double-forked and left the session', () =>
    withRunning({}, async (container) => {
      const namespace = readlinkSync(`/proc/${container.pid}/ns/pid`);
      for (const options of [{}, { timeout: 300 }]) {
        const wait = 'timeout' in options ? '; sleep 600' : '';
        await inside(
          container,
          `(setsid sh -c "sleep 1234 & sleep 1235 & exec sleep 1236" &) ; (setsid setsid sleep 1237 >/dev/null 2>&1 </dev/null &); sleep 0.1${wait}`,
          options,
        );
        expect(cmdlines(namespace).filter((line) => line.startsWith('sleep 12'))).toEqual([]);
      }
      // What was there before is there still.
      expect(cmdlines(namespace)).toEqual(['ns-init', 'sleep 600']);
    }),
  );

  rootTest('the OOM verdict is of this one command, among others at the same time', () =>
    withRunning({ limits: { memory: '96MiB', memorySwap: '96MiB' } }, async (container) => {
      // The hog is ended before the innocent ones: they are small.
      const results = await Promise.all([
        ...[1, 2, 3].map((i) => inside(container, `sleep 0.5; exit ${i}`)),
        inside(container, 'echo 1000 > /proc/self/oom_score_adj; exec tail /dev/zero'),
        inside(container, 'exit 137'),
        inside(container, 'kill -9 $$'),
      ]);
      expect(results.map(({ reason }) => reason)).toEqual(['exit', 'exit', 'exit', 'oom', 'exit', 'signal']);
      expect(results.map(({ exitCode }) => exitCode)).toEqual([1, 2, 3, null, 137, null]);
      expect(container.status).toBe('running');
    }),
  );

  rootTest('a shortage that it has survived is not what another signal ends it for', () =>
    withRunning({ limits: { memory: '96MiB', memorySwap: '96MiB' } }, async (container) => {
      const hog = 'sh -c "echo 1000 > /proc/self/oom_score_adj; exec tail /dev/zero"';
      const result = await inside(container, `${hog}; kill -TERM $$`);
      expect(result).toMatchObject({ signal: 'SIGTERM', reason: 'signal' });
    }),
  );

  rootTest('many at once', () =>
    withRunning({}, async (container) => {
      const results = await Promise.all(
        Array.from({ length: 50 }, (_, i) => inside(container, `echo ${i}; exit ${i}`)),
      );
      expect(results.map(({ stdout, exitCode }) => [stdout, exitCode])).toEqual(results.map((_, i) => [`${i}\n`, i]));
      const abort = AbortSignal.timeout(100);
      const aborted = await Promise.all(
        Array.from({ length: 5 }, () => inside(container, 'sleep 600', { signal: abort })),
      );
      expect(aborted.every(({ reason }) => reason === 'abort')).toBe(true);
    }),
  );

  rootTest('of a container that ends meanwhile ends too', () =>
    withRunning({}, async (container) => {
      const running = inside(container, 'sleep 600');
      await running.started;
      await container.kill();
      expect(await running).toMatchObject({ signal: 'SIGKILL' });
    }),
  );
});

describe('while it runs', () => {
  rootTest('it can be held still', () =>
    withRunning({ command: ['sh', '-c', 'while :; do echo tick; sleep 0.02; done'] }, async (container) => {
      const ticks = async () => {
        let bytes = 0;
        for await (const { data } of container.logs()) bytes += data.length;
        return bytes;
      };
      expect(await eventually(() => container.status === 'running')).toBe(true);
      await delay(100);
      await container.pause();
      await container.pause();
      expect(container.status).toBe('paused');
      await delay(50);
      const held = await ticks();
      await delay(150);
      expect(await ticks()).toBe(held);
      await expect(inside(container, 'true')).rejects.toMatchObject({ code: 'ERR_NS_CONTAINER_PAUSED' });
      await container.resume();
      expect(await eventually(async () => (await ticks()) > held)).toBe(true);
      await container.pause();
      // Not even held still does it outlive its end.
      await container.stop({ timeout: 100 });
      expect(container.status).toBe('stopped');
    }),
  );

  rootTest('its limits can be changed', () =>
    withRunning({ limits: { memory: '64MiB', pids: 20 } }, async (container) => {
      const allocate = 'head -c 100m /dev/zero | tail > /dev/null';
      await container.update({ limits: { memory: '256MiB', memorySwap: '256MiB', pids: 6 } });
      expect(await inside(container, allocate)).toMatchObject({ exitCode: 0, reason: 'exit' });
      expect((await inside(container, 'for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait')).stderr).toMatch(/fork/i);
      await expect(container.update({ limits: { memry: 5 } as object })).rejects.toMatchObject({
        field: 'limits.memry',
      });
      const { memory, pids } = await container.stats();
      expect(memory?.currentBytes).toBeGreaterThan(0);
      expect(pids?.current).toBeGreaterThanOrEqual(1);
      let samples = 0;
      for await (const sample of container.stats({ interval: 10 })) {
        expect(sample.cpu).toBeDefined();
        if (++samples === 3) break;
      }
    }),
  );

  rootTest('its processes are known inside and outside', () =>
    withRunning({ user: '77' }, async (container) => {
      // Between the last word of the stage and its execve there are microseconds.
      await eventually(async () => (await container.processes()).at(-1)?.name === 'sleep');
      const processes = await container.processes();
      expect(processes.map(({ pid, name, uid, user, command }) => ({ pid, name, uid, user, command }))).toEqual([
        { pid: 1, name: 'ns-init', uid: 0, user: 'root', command: ['ns-init'] },
        { pid: 2, name: 'sleep', uid: 77, user: '77', command: ['sleep', '600'] },
      ]);
      expect(processes[0]!.hostPid).toBe(container.pid);
    }),
  );

  rootTest('of a command with megabytes of arguments there is the beginning', () =>
    withRunning({}, async (container) => {
      const script = 'exec bash -c "sleep 600; true" name $(head -c 1000000 /dev/zero | tr "\\0" "x" | fold -w 1000)';
      const long = container.exec('sh', ['-c', script]);
      const find = async () => (await container.processes()).find(({ command }) => command[3] === 'name');
      await eventually(async () => (await find()) !== undefined);
      const { command } = (await find())!;
      expect(command.slice(0, 4)).toEqual(['bash', '-c', 'sleep 600; true', 'name']);
      expect(command.join(' ').length).toBeLessThanOrEqual(4_096);
      long.kill();
      await long;
    }),
  );

  rootTest('users of its processes are called as inside, whatever ids they have outside', () =>
    withRunning({ user: 'daemon', idMap: 'auto' }, async (container) => {
      await eventually(async () => (await container.processes()).at(-1)?.name === 'sleep');
      const { uid, user } = (await container.processes()).at(-1)!;
      expect(user).toBe('daemon');
      expect(uid).toBeGreaterThan(65_535);
    }),
  );

  rootTest('what it wrote can be read again: all, the last lines, since a moment, on and on', () =>
    withRunning(
      { command: ['sh', '-c', 'echo 1; echo 2; echo err >&2; read go; echo 3; echo 4; exit 0'], stdin: 'pipe' },
      async (container) => {
        const collect = async (options: Parameters<Container['logs']>[0]) => {
          const lines: string[] = [];
          for await (const { stream, data } of container.logs(options))
            lines.push(
              ...data
                .toString()
                .trim()
                .split('\n')
                .map((line) => `${stream} ${line}`),
            );
          return lines;
        };
        const followed = collect({ follow: true });
        while ((await collect({})).length < 3) await delay(10);
        await delay(20);
        const since = new Date();
        await delay(5);
        container.stdin!.end('go\n');
        await container.wait();
        expect((await followed).sort()).toEqual(['stderr err', 'stdout 1', 'stdout 2', 'stdout 3', 'stdout 4']);
        expect((await collect({})).sort()).toEqual(await followed);
        expect(await collect({ tail: 1 })).toEqual(['stdout 4']);
        expect(await collect({ tail: 0 })).toEqual([]);
        expect(await collect({ since })).toEqual(['stdout 3', 'stdout 4']);
      },
    ),
  );

  rootTest('what happens to it is told, in order', async () => {
    const told: string[] = [];
    await withContainer({}, async (container) => {
      const seen: ContainerEvent['type'][] = [];
      const all = (async () => {
        for await (const { type } of container.events()) seen.push(type);
      })();
      const onExit = ({ result }: { result: { exitCode: number | null } }) => told.push(`exit ${result.exitCode}`);
      container.on('exit', onExit);
      await container.start();
      await container.pause();
      await container.resume();
      await container.kill();
      container.off('exit', onExit);
      await container.start();
      await container.remove({ force: true });
      await all;
      expect(seen.filter((type) => ['start', 'pause', 'resume', 'exit', 'remove'].includes(type))).toEqual([
        'start',
        'pause',
        'resume',
        'exit',
        'start',
        'exit',
        'remove',
      ]);
    });
    expect(told).toEqual(['exit null']);
  });

  rootTest('its time begins when it starts, however long ago it was made', () =>
    withContainer({ timeout: 300 }, async (container) => {
      await delay(200);
      const begin = performance.now();
      await container.start();
      expect(await container.wait()).toMatchObject({ reason: 'timeout' });
      expect(performance.now() - begin).toBeGreaterThan(290);
    }),
  );

  rootTest('a time limit and an output limit are of the whole container', async () => {
    await withRunning({ timeout: 2_000 }, async (container) => {
      expect(await container.wait()).toMatchObject({ reason: 'timeout' });
    });
    await withRunning(
      { command: ['sh', '-c', 'sleep 0.1; exec yes'], maxOutput: { bytes: 1000, onExceed: 'kill' } },
      async (container) => {
        expect(await container.wait()).toMatchObject({ reason: 'output-limit', truncated: true });
      },
    );
  });
});

describe('among others', () => {
  rootTest('a name is taken once; a list says what there is', () =>
    withRunning({ name: 'first', labels: { tier: 'web' } }, async (container) => {
      await expect(Container.create({ command: ['true'], name: 'first' })).rejects.toMatchObject({
        code: 'ERR_NS_CONTAINER_EXISTS',
      });
      expect(await Container.list()).toMatchObject([
        { id: container.id, name: 'first', status: 'running', pid: container.pid, labels: { tier: 'web' } },
      ]);
      expect(await Container.list({ labels: { tier: 'db' } })).toEqual([]);
      expect(await Container.list({ name: 'first', status: 'running' })).toHaveLength(1);
    }),
  );

  rootTest('namespaces can be shared with another', () =>
    withRunning({ hostname: 'shared' }, async (container) => {
      const other = await Container.create({
        command: ['sleep', '600'],
        namespaces: { pid: { container }, uts: { container: container.id } },
        network: { container },
      });
      try {
        await other.start();
        const script = 'hostname; grep -c . /proc/1/comm; readlink /proc/self/ns/net; cat /proc/*/comm | grep -c sleep';
        const { stdout } = await inside(other, script);
        expect(stdout).toBe(`shared\n1\n${readlinkSync(`/proc/${container.pid}/ns/net`)}\n2\n`);
      } finally {
        await other.remove({ force: true });
      }
      expect(container.status).toBe('running');
    }),
  );

  rootTest('explain shows the plan without making anything', () => {
    const text = Container.explain({
      command: ['true'],
      limits: { memory: '1g' },
      capabilities: { drop: ['ALL'] },
    }).toString();
    for (const word of ['clone3', 'pivot_root', 'seccomp', 'execve', 'overlay']) expect(text).toContain(word);
  });

  rootTest('cgroups go with it', async () => {
    let directories: string[] = [];
    await withRunning({}, async (container) => {
      directories = cgroupDirectories(container.pid!);
      expect(directories.length).toBeGreaterThan(0);
      const running = container.exec('cat', { stdin: 'pipe' });
      await running.started;
      directories.push(...cgroupDirectories(running.pid!));
      running.stdin.end();
      await running;
    });
    expect(remaining(directories)).toEqual([]);
  });
});
