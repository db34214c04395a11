import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { needs } from './needs.ts';

/* What every storage driver must do, whatever it keeps its roots in. Looks at files, not at the driver's words. */

interface Matchers<Result> {
  toBe(value: unknown): Result;
  toEqual(value: unknown): Result;
  toContain(value: unknown): Result;
  toMatchObject(value: object): Result;
  toBeUndefined(): Result;
  toThrow(value: unknown): Result;
}
declare const expect: {
  (value: unknown): Matchers<void> & { readonly rejects: Matchers<Promise<void>> };
  objectContaining(value: object): unknown;
  stringMatching(pattern: RegExp): unknown;
};

/** The part of a root the suite speaks to. */
export interface ConformingRoot {
  readonly id: string;
  mount(): Promise<{ readonly procPath: string; close(): void }>;
  diff(): PromiseLike<readonly { readonly kind: string; readonly path: string; readonly type?: string | undefined }[]>;
  diffStream(): NodeJS.ReadableStream;
  fork(id: string): Promise<ConformingRoot>;
  discard(): Promise<void>;
  close(): void;
  remove(): Promise<void>;
}

/** The part of a driver the suite speaks to. */
export interface ConformingStorageDriver {
  probe(): Promise<string | undefined>;
  create(
    id: string,
    spec: { readonly layers: readonly string[]; readonly sizeBytes?: number },
  ): Promise<ConformingRoot>;
  open(id: string): Promise<ConformingRoot>;
  list(): Promise<string[]>;
}

/** What a set-up gives the suite; disposed of after each test. */
export interface StorageSetup extends Disposable {
  readonly driver: ConformingStorageDriver;
  /** An empty directory for layers. */
  readonly directory: string;
}

/** What the suite is run on. */
export interface StorageConformanceSubject {
  /** Appears in the names of the tests. */
  readonly title: string;
  /** Why nothing of this can run here. */
  readonly missing?: string | undefined;
  /** Whether roots can have a size, `refused` when the driver says that it has none. */
  readonly size: 'limited' | 'refused';
  setUp(): Promise<StorageSetup>;
}

/** Writes files; `null` is a whiteout, a name that ends in a slash a directory. */
function layer(path: string, files: Readonly<Record<string, string | null>>): string {
  mkdirSync(path, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    const file = join(path, name);
    mkdirSync(join(file, '..'), { recursive: true });
    if (name.endsWith('/')) mkdirSync(file, { recursive: true });
    else if (content === null) execFileSync('mknod', [file, 'c', '0', '0']);
    else writeFileSync(file, content);
  }
  return path;
}

/** The suite. Call it at the top level of a test file. */
export function storageDriverConformance(subject: StorageConformanceSubject): void {
  const test = (name: string, body: (setup: StorageSetup, layers: string[]) => Promise<void>) =>
    needs(subject.missing)(
      `${subject.title}: ${name}`,
      async () => {
        using setup = await subject.setUp();
        const base = layer(join(setup.directory, 'base'), {
          'etc/hosts': 'base',
          'etc/passwd': 'base',
          'opt/old': 'x',
          'dir/a': 'a',
        });
        symlinkSync('etc/hosts', join(base, 'link'));
        const top = layer(join(setup.directory, 'top'), { 'etc/hosts': 'top', 'opt/old': null, 'app/run': '#!' });
        await body(setup, [top, base]);
      },
      60_000,
    );

  const inside = async (root: ConformingRoot, body: (path: string) => void): Promise<void> => {
    const mount = await root.mount();
    try {
      body(mount.procPath);
    } finally {
      mount.close();
    }
  };
  const changes = async (root: ConformingRoot) =>
    (await root.diff()).map(({ kind, path, type }) => `${kind} ${path} ${type ?? ''}`.trim()).sort();

  test('the probe says that it works', async ({ driver }) => {
    expect(await driver.probe()).toBeUndefined();
    expect(await driver.list()).toEqual([]);
  });

  test('shows the layers merged, whiteouts applied', async ({ driver }, layers) => {
    const root = await driver.create('r', { layers });
    await inside(root, (path) => {
      expect(readFileSync(join(path, 'etc/hosts'), 'utf8')).toBe('top');
      expect(readFileSync(join(path, 'etc/passwd'), 'utf8')).toBe('base');
      expect(readFileSync(join(path, 'link'), 'utf8')).toBe('top');
      expect(readdirSync(join(path, 'opt'))).toEqual([]);
      expect(readFileSync(join(path, 'app/run'), 'utf8')).toBe('#!');
    });
    expect(await changes(root)).toEqual([]);
    await root.remove();
  });

  test('roots of the same layers can be made at once', async ({ driver, directory }, layers) => {
    // So many that they are not made in one turn of the event loop.
    const files = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`many/${n}`, String(n)]));
    const spec = { layers: [...layers, layer(join(directory, 'many'), files)] };
    const roots = await Promise.all(['one', 'two', 'three'].map((id) => driver.create(id, spec)));
    for (const root of roots) {
      await inside(root, (path) => expect(readdirSync(join(path, 'many')).length).toBe(500));
      expect(await changes(root)).toEqual([]);
      await root.remove();
    }
  });

  test('roots of the same layers are apart, and layers are not written to', async ({ driver }, layers) => {
    const one = await driver.create('one', { layers });
    const two = await driver.create('two', { layers });
    await inside(one, (path) => {
      writeFileSync(join(path, 'etc/hosts'), 'one');
      rmSync(join(path, 'etc/passwd'));
    });
    await inside(two, (path) => {
      expect(readFileSync(join(path, 'etc/hosts'), 'utf8')).toBe('top');
      expect(existsSync(join(path, 'etc/passwd'))).toBe(true);
    });
    expect(readFileSync(join(layers[0]!, 'etc/hosts'), 'utf8')).toBe('top');
    expect(readFileSync(join(layers[1]!, 'etc/passwd'), 'utf8')).toBe('base');
    await one.remove();
    await two.remove();
  });

  test('diff lists what was written, and the archive holds it', async ({ driver }, layers) => {
    const root = await driver.create('r', { layers });
    await inside(root, (path) => {
      writeFileSync(join(path, 'etc/hosts'), 'changed!');
      writeFileSync(join(path, 'etc/new'), '');
      rmSync(join(path, 'etc/passwd'));
      rmSync(join(path, 'dir'), { recursive: true });
      mkdirSync(join(path, 'made/deep'), { recursive: true });
      chmodSync(join(path, 'app/run'), 0o755);
    });
    expect(await changes(root)).toEqual([
      'added /etc/new file',
      'added /made directory',
      'added /made/deep directory',
      'deleted /dir directory',
      'deleted /etc/passwd file',
      'modified /app/run file',
      'modified /etc/hosts file',
    ]);
    const names = execFileSync('tar', ['-t'], { input: await buffer(root.diffStream()), encoding: 'utf8' });
    // A new directory may say that it hides what is below it: nothing.
    const members = names
      .trim()
      .split('\n')
      .filter((name) => !name.endsWith('/.wh..wh..opq'));
    expect(members.sort()).toEqual([
      '.wh.dir',
      'app/',
      'app/run',
      'etc/',
      'etc/.wh.passwd',
      'etc/hosts',
      'etc/new',
      'made/',
      'made/deep/',
    ]);
    await root.remove();
  });

  test('a fork goes on from where its origin is, each for itself', async ({ driver }, layers) => {
    const root = await driver.create('r', { layers });
    await inside(root, (path) => {
      writeFileSync(join(path, 'state'), '1');
      rmSync(join(path, 'etc/passwd'));
    });
    const fork = await root.fork('f');
    await inside(fork, (path) => {
      expect(readFileSync(join(path, 'state'), 'utf8')).toBe('1');
      expect(existsSync(join(path, 'etc/passwd'))).toBe(false);
      writeFileSync(join(path, 'state'), '2');
    });
    await inside(root, (path) => expect(readFileSync(join(path, 'state'), 'utf8')).toBe('1'));
    expect(await driver.list()).toEqual(['f', 'r']);
    await root.remove();
    await inside(fork, (path) => expect(readFileSync(join(path, 'state'), 'utf8')).toBe('2'));
    await fork.remove();
  });

  test('discarded, it is as it was made', async ({ driver }, layers) => {
    const root = await driver.create('r', { layers });
    await inside(root, (path) => {
      writeFileSync(join(path, 'new'), '');
      rmSync(join(path, 'dir'), { recursive: true });
    });
    await root.discard();
    expect(await changes(root)).toEqual([]);
    await inside(root, (path) => expect(readdirSync(join(path, 'dir'))).toEqual(['a']));
    await root.remove();
  });

  test('is found again by another driver object, and removed for good', async ({ driver }, layers) => {
    const root = await driver.create('r', { layers });
    await inside(root, (path) => writeFileSync(join(path, 'kept'), ''));
    root.close();
    const again = await driver.open('r');
    await inside(again, (path) => expect(existsSync(join(path, 'kept'))).toBe(true));
    await expect(driver.create('r', { layers })).rejects.toMatchObject({ code: 'ERR_NS_ROOT_EXISTS' });
    await again.remove();
    await again.remove();
    expect(await driver.list()).toEqual([]);
    await expect(driver.open('r')).rejects.toMatchObject({ code: 'ERR_NS_NO_SUCH_ROOT' });
  });

  test('an id is no path', async ({ driver }, layers) => {
    for (const id of ['../x', 'a/b', '', '.', 'x'.repeat(200)]) {
      await expect(driver.create(id, { layers })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC', field: 'id' });
    }
    await expect(driver.create('x', { layers: [] })).rejects.toMatchObject({ code: 'ERR_NS_INVALID_SPEC' });
    expect(await driver.list()).toEqual([]);
  });

  test(`a size is ${subject.size}`, async ({ driver }, layers) => {
    const spec = { layers, sizeBytes: 32 * 1024 * 1024 };
    if (subject.size === 'refused') {
      await expect(driver.create('r', spec)).rejects.toMatchObject({ code: 'ERR_NS_UNAVAILABLE' });
      expect(await driver.list()).toEqual([]);
      return;
    }
    const root = await driver.create('r', spec);
    await inside(root, (path) => {
      const file = openSync(join(path, 'big'), 'w');
      const chunk = Buffer.alloc(1024 * 1024, 'x');
      const fill = (): void => {
        for (let i = 0; i < 64; i++) writeSync(file, chunk);
        // A quota may be counted only when it reaches the disk. Node has no name for EDQUOT.
        execFileSync('sync', ['-f', join(path, 'big')]);
        writeSync(file, chunk);
      };
      try {
        expect(fill).toThrow(expect.objectContaining({ code: expect.stringMatching(/^(ENOSPC|EDQUOT|UNKNOWN)$/) }));
      } finally {
        closeSync(file);
      }
      expect(statSync(join(path, 'big')).size <= spec.sizeBytes).toBe(true);
    });
    await root.remove();
    expect(await driver.list()).toEqual([]);
  });
}
