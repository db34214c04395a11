import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { needs, notRoot } from '@ns/testing';
import { Container } from '../src/index.ts';
import { useOwnStateRoot } from './leaves-nothing.ts';

/* Of a container that may outlive its maker a monitor writes the output. What finds no room is lost, and its result says so. */

const rootTest = needs(notRoot);
const root = useOwnStateRoot();
const WRITTEN = 4 * 2 ** 20;

let small: string;
beforeEach(() => {
  // Not below /tmp: others who see it while this comes and goes have a root with a mount that is not there.
  small = mkdtempSync('/run/core-small-');
  if (!notRoot) execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'small', small]);
});
afterEach(() => {
  process.env.NS_STATE_ROOT = root.path;
  if (!notRoot) execFileSync('umount', [small]);
  rmSync(small, { recursive: true });
});

/** Not before it is on record that it runs: that finds room. */
async function writeALot(directory?: string): Promise<Container> {
  const container = await Container.create({
    command: ['sh', '-c', `until [ -e /go ]; do sleep 0.02; done; head -c ${WRITTEN} /dev/zero; exit 3`],
    lifetime: { dieWithParent: false },
    ...(directory !== undefined && { log: { directory } }),
  });
  await container.start();
  await container.exec('touch', ['/go'], { check: true });
  return container;
}

rootTest('a directory of the log without room', async () => {
  const container = await writeALot(join(small, 'log'));
  const own = await container.wait();
  expect(own).toMatchObject({ exitCode: 3, truncated: true });
  expect(own.stdout.length).toBeGreaterThan(0);
  expect(own.stdout.length).toBeLessThan(2 ** 20);
  expect(await (await Container.get(container.id)).wait()).toMatchObject({ exitCode: 3, truncated: true });
  await container.remove();
});

for (const format of ['json', 'raw'] as const)
  rootTest(`a log that this process writes goes on when there is room again: ${format}`, async () => {
    const { emitWarning } = process;
    const warnings: unknown[] = [];
    process.emitWarning = (_: unknown, options?: unknown) => void warnings.push(options);
    try {
      const log = { directory: join(small, 'log'), format };
      await using container = await Container.create({ command: ['cat'], stdin: 'pipe', log });
      await container.start();
      const say = async (line: string) => {
        container.stdin!.write(`${line}\n`);
        await once(container.attach(), 'data');
      };
      await say('first');
      const filler = join(small, 'filler');
      expect(() => {
        for (;;) writeFileSync(filler, Buffer.alloc(4096), { flag: 'a' });
      }).toThrow('ENOSPC');
      // A page that is there already has room.
      for (let round = 0; round < 3; round++) await say('x'.repeat(5000));
      rmSync(filler);
      await say('last');
      container.stdin!.end();
      await container.wait();
      const logged: string[] = [];
      for await (const { data } of container.logs()) logged.push(String(data));
      expect(logged.join('')).toMatch(/^first\n(x|\n)*last\n$/);
      expect(logged.join('').length).toBeLessThan(3 * 5000);
      expect(warnings).toEqual([{ code: 'NS_LOG_FILE' }]);
    } finally {
      process.emitWarning = emitWarning;
    }
  });

rootTest('a state directory without room: how it ended has its place', async () => {
  const state = join(small, 'state');
  mkdirSync(state);
  process.env.NS_STATE_ROOT = state;
  const container = await writeALot();
  expect(await container.wait()).toMatchObject({ exitCode: 3, truncated: true });
  expect(await (await Container.get(container.id)).wait()).toMatchObject({ exitCode: 3, truncated: true });
  await container.remove();
});

rootTest(
  'a state directory without room for one file more, whichever that is: it is made, or it is said why not',
  async () => {
    const outcomes: string[] = [];
    for (let files = 9; files < 15; files++) {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=16m,nr_inodes=${files}`, 'few', small]);
      process.env.NS_STATE_ROOT = join(small, 'state');
      try {
        const spec = { command: ['true'], lifetime: { dieWithParent: false }, idMap: 'auto' } as const;
        const container = await Container.create(spec, { timeout: 10_000 });
        outcomes.push('made');
        await container.remove({ force: true });
      } catch (error) {
        const { code, errnoCode = code } = error as { code: string; errnoCode?: string };
        outcomes.push(errnoCode);
      } finally {
        execFileSync('umount', [small]);
      }
    }
    expect(new Set(outcomes)).toEqual(new Set(['ENOSPC', 'made']));
  },
  60_000,
);

rootTest('all of what finds room is there', async () => {
  const container = await writeALot(join(root.path, 'log'));
  const { exitCode, truncated, stdout } = await container.wait();
  expect({ exitCode, truncated, bytes: stdout.length }).toEqual({ exitCode: 3, truncated: false, bytes: WRITTEN });
  await container.remove();
});
