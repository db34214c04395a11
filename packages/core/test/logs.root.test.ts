import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, needs, notRoot } from '@ns/testing';
import { Container, type LogEntry, type LogSpec } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* Output in files: by the monitor where the container may be on its own, by this process otherwise. */

const test = needs(notRoot);
const root = useOwnStateRoot();
const KIB = 1024;

// Node opens its own inotify once.
beforeAll(() => watch(tmpdir()).close());

interface LogTest {
  readonly script: string;
  readonly log?: LogSpec;
  readonly detachable?: boolean;
}

async function withLog(
  { script, log, detachable = false }: LogTest,
  use: (c: Container, directory: string) => Promise<void>,
): Promise<void> {
  await leavesNothing(async () => {
    await using c = await Container.create({
      command: ['sh', '-c', script],
      ...(detachable && { lifetime: { dieWithParent: false } }),
      ...(log && { log }),
    });
    await c.start();
    await use(c, log?.directory ?? join(root.path, 'containers', c.id));
  });
}

async function read(entries: AsyncIterable<LogEntry>): Promise<LogEntry[]> {
  const all: LogEntry[] = [];
  for await (const entry of entries) all.push(entry);
  return all;
}

const textOf = (entries: readonly LogEntry[], stream: LogEntry['stream'] = 'stdout') =>
  Buffer.concat(entries.filter((entry) => entry.stream === stream).map(({ data }) => data)).toString('latin1');

/** A script of commands, of which each waits for its file. */
const oneByOne = (...commands: string[]) =>
  commands
    .map((command, i) => (i === 0 ? command : `until [ -e /go-${i} ]; do sleep 0.01; done; ${command}`))
    .join('; ');

/** Lets go on, `times` times, what is {@link oneByOne}: some time after the last output was heard of. */
async function letGo(c: Container, times: number): Promise<void> {
  for (let i = 1; i <= times; i++) {
    expect(await eventually(async () => (await read(c.logs())).length === i)).toBe(true);
    await delay(300);
    await c.exec('touch', [`/go-${i}`]);
  }
}

/** Lines of `seq`, of which the last is `end`, without a gap. */
function expectTail(text: string, end: number): void {
  const numbers = text
    .slice(text.indexOf('\n') + 1)
    .trimEnd()
    .split('\n')
    .map(Number);
  expect(numbers.at(-1)).toBe(end);
  expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, index) => end - numbers.length + 1 + index));
}

const writers = [
  ['a monitor', { detachable: true }],
  ['this process, raw', { format: 'raw' }],
  ['this process, JSON', { format: 'json' }],
] as const;

for (const [who, how] of writers) {
  const detachable = 'detachable' in how;
  const spec = (log: LogSpec) => ({ detachable, log: { ...('format' in how && how), ...log } });

  describe(`written by ${who}`, () => {
    test('a flood stays within its bounds, and what is left has no gap', () =>
      withLog(
        { script: 'seq 1 400000; echo last >&2', ...spec({ maxSize: 256 * KIB, maxFiles: 3 }) },
        async (c, directory) => {
          expect(await c.wait()).toMatchObject({ exitCode: 0 });
          const files = readdirSync(directory).filter((name) => /^(stdout|output)/.test(name));
          const sizes = files.map((name) => statSync(join(directory, name)).size);
          expect(Math.max(...sizes)).toBeLessThanOrEqual(256 * KIB);
          expect(files.filter((name) => !name.includes('times')).sort()).toEqual(
            ['', '.1', '.2'].map((suffix) => `${how === writers[2][1] ? 'output.jsonl' : 'stdout.log'}${suffix}`),
          );
          const entries = await read(c.logs());
          expectTail(textOf(entries), 400_000);
          expect(textOf(entries, 'stderr')).toBe('last\n');
          expect(textOf(await read(c.logs({ tail: 3 })), 'stdout')).toMatch(/^399999\n400000\n$|^39999[89]\n(.*\n)*$/);
        },
      ));

    test('who follows loses nothing where files change', () =>
      withLog(
        {
          script: 'for i in $(seq 1 40); do seq $((i * 10000)) $((i * 10000 + 9999)); done',
          ...spec({ maxSize: 64 * KIB, maxFiles: 100 }),
        },
        async (c) => {
          const [one, two] = await Promise.all([
            read(c.logs({ follow: true })),
            read(c.logs({ follow: true })),
            c.wait(),
          ]);
          const all = Array.from({ length: 400_000 }, (_, index) => `${index + 10_000}\n`).join('');
          expect(textOf(one) === all).toBe(true);
          expect(textOf(two) === all).toBe(true);
          expect(textOf(await read(c.logs())) === all).toBe(true);
        },
      ));

    test('knows when, on which stream, and from when on', () =>
      withLog({ script: oneByOne('echo one', 'echo two >&2', 'echo three'), ...spec({}) }, async (c) => {
        await letGo(c, 2);
        await c.wait();
        const entries = await read(c.logs());
        expect(entries.map(({ stream, data }) => [stream, data.toString()])).toEqual([
          ['stdout', 'one\n'],
          ['stderr', 'two\n'],
          ['stdout', 'three\n'],
        ]);
        const [one, two, three] = entries.map(({ time }) => time.getTime()) as [number, number, number];
        expect(two - one).toBeGreaterThan(250);
        expect(three - two).toBeGreaterThan(250);
        expect(Math.abs(Date.now() - three)).toBeLessThan(30_000);
        expect((await read(c.logs({ since: two }))).length).toBe(2);
        expect(textOf(await read(c.logs({ since: new Date(two + 1) })))).toBe('three\n');
        expect((await read(c.logs({ tail: 2 }))).map(({ data }) => data.toString())).toEqual(['two\n', 'three\n']);
      }));
  });
}

test('a reader may stop following', () =>
  withLog({ script: 'echo up; sleep 60', detachable: true }, async (c) => {
    const controller = new AbortController();
    const seen: string[] = [];
    const following = (async () => {
      for await (const { data } of c.logs({ follow: true, signal: controller.signal })) {
        seen.push(data.toString());
        setImmediate(() => controller.abort());
      }
    })();
    await expect(following).rejects.toMatchObject({ name: 'AbortError' });
    expect(seen).toEqual(['up\n']);
  }));

test('bytes that are no text survive JSON', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'core-logs-'));
  try {
    await withLog(
      { script: oneByOne(String.raw`printf '\377\000\n'`, String.raw`echo "gr\"ün"`), log: { directory } },
      async (c) => {
        await letGo(c, 1);
        await c.wait();
        expect(Buffer.concat((await read(c.logs())).map(({ data }) => data))).toEqual(
          Buffer.concat([Buffer.from([0xff, 0, 0x0a]), Buffer.from('gr"ün\n')]),
        );
      },
    );
    // As json-file of Docker has it; it was asked to be elsewhere, and stays there.
    const lines = readFileSync(join(directory, 'output.jsonl'), 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { base64: '/wAK', stream: 'stdout', time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) },
      { log: 'gr"ün\n', stream: 'stdout', time: expect.any(String) },
    ]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a program that closes its output costs its monitor nothing; the file is out of its reach', () =>
  withLog(
    { script: 'readlink /proc/self/fd/1; exec >&- 2>&-; exec sleep 60', detachable: true },
    async (_, directory) => {
      const { monitor } = JSON.parse(readFileSync(join(directory, 'state.json'), 'utf8'));
      await eventually(() => readFileSync(join(directory, 'stdout.log'), 'utf8').startsWith('pipe:'));
      const ticks = () => {
        const fields = readFileSync(`/proc/${monitor.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
        return Number(fields[11]) + Number(fields[12]);
      };
      const before = ticks();
      await delay(500);
      expect(ticks() - before).toBeLessThan(10);
    },
  ));

test('a line that a kill or a full disk has cut is the only one that is lost', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'core-log-'));
  const earlier = `${JSON.stringify({ log: 'earlier\n', stream: 'stdout', time: new Date(0).toISOString() })}\n`;
  writeFileSync(join(directory, 'output.jsonl'), `${earlier}{"log":"cu`);
  await withLog({ script: 'echo later', log: { format: 'json', directory } }, async (c) => {
    await c.wait();
    expect(textOf(await read(c.logs()))).toBe('earlier\nlater\n');
  });
  rmSync(directory, { recursive: true });
});

test('a restart writes on', () =>
  withLog({ script: 'date +%N; echo run', detachable: true, log: { maxSize: '64KiB' } }, async (c) => {
    await c.wait();
    await c.start();
    await c.wait();
    expect(textOf(await read(c.logs())).match(/run/g)).toHaveLength(2);
  }));

for (const [name, more] of [
  ['stdout.log', { lifetime: { dieWithParent: false } }],
  ['output.jsonl', {}],
] as const)
  test(`where ${name} cannot be a file nothing is left of the container`, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'core-logs-'));
    mkdirSync(join(directory, name));
    const spec = { command: ['true'], limits: { pids: 5 }, log: { directory }, ...more };
    try {
      await leavesNothing(() => expect(Container.create(spec)).rejects.toMatchObject({ code: 'EISDIR' }));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

test('a directory that is missing is made; what can be none is refused', async () => {
  const parent = mkdtempSync(join(tmpdir(), 'core-logs-'));
  try {
    for (const detachable of [false, true]) {
      const directory = join(parent, `${detachable}`, 'logs');
      const log = { directory, format: 'raw' } as const;
      const written = () => readFileSync(join(directory, 'stdout.log'), 'utf8');
      await withLog({ script: 'echo kept', log, detachable }, async (c) => {
        await c.wait();
        expect(written()).toBe('kept\n');
        // Somebody tidied up.
        rmSync(directory, { recursive: true });
        await c.restart();
        await c.wait();
      });
      expect(written()).toBe('kept\n');
      expect(statSync(directory).mode & 0o777).toBe(0o700);
    }
    for (const directory of ['/dev/null', '/dev/null/logs', '/proc/logs'])
      await expect(Container.create({ command: ['true'], log: { directory } })).rejects.toMatchObject({
        code: 'ERR_NS_INVALID_SPEC',
        field: 'log.directory',
      });
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
});

test('what cannot be is refused', async () => {
  for (const [log, field] of [
    [{ maxSize: 1000 }, 'log.maxSize'],
    [{ maxFiles: 0 }, 'log.maxFiles'],
    [{ directory: 'here' }, 'log.directory'],
    [{ format: 'xml' }, 'log.format'],
  ] as const) {
    await expect(Container.create({ command: ['true'], log: log as LogSpec })).rejects.toMatchObject({ field });
  }
  await expect(
    Container.create({ command: ['true'], log: { format: 'json' }, lifetime: { dieWithParent: false } }),
  ).rejects.toMatchObject({ field: 'log.format', hint: expect.stringContaining('raw') });
  expect(existsSync(join(root.path, 'containers')) ? readdirSync(join(root.path, 'containers')) : []).toEqual([]);
});

test('a fork writes into no directory of its origin', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'core-logs-'));
  try {
    await using origin = await Container.create({ command: ['sh', '-c', 'echo $HOSTNAME'], log: { directory } });
    await origin.start();
    await origin.wait();
    const [fork] = (await origin.fork()) as [Container];
    await using _ = fork;
    expect(await read(fork.logs())).toEqual([]);
    await fork.start();
    await fork.wait();
    for (const one of [origin, fork]) expect(textOf(await read(one.logs()))).toBe(`${one.id.slice(0, 12)}\n`);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
