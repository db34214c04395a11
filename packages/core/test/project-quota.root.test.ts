import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Container, run } from '@ns/core';
import { createSizedDirectory } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';

/* Project quota needs a kernel with quota: the tests of this file run in the virtual machine. */

const SIZE = 8 * 2 ** 20;
/** Under emulation a container takes seconds. */
const TIMEOUT_MS = 120_000;
const makeFileSystem = {
  ext4: ['mkfs.ext4', '-q', '-F', '-O', 'quota,project'],
  xfs: ['mkfs.xfs', '-q', '-f'],
} as const;

/** A file system with project quota in an image file, and a layer on it. */
class QuotaDisk implements Disposable {
  readonly path = mkdtempSync(join(process.env.NS_TEST_DIR ?? tmpdir(), 'ns-quota-'));
  readonly mountPoint = join(this.path, 'mounted');
  readonly layer = join(this.mountPoint, 'layer');

  constructor(type: keyof typeof makeFileSystem) {
    try {
      const image = join(this.path, 'image');
      const [program, ...options] = makeFileSystem[type];
      execFileSync('truncate', ['-s', '320M', image]);
      execFileSync(program, [...options, image], { stdio: 'pipe' });
      mkdirSync(this.mountPoint);
      execFileSync('mount', ['-t', type, '-o', 'loop,prjquota', image, this.mountPoint], { stdio: 'pipe' });
      this.#install('/bin/busybox');
      this.#install('/usr/bin/chattr');
      for (const name of ['sh', 'head', 'rm', 'mkdir']) symlinkSync('busybox', join(this.layer, 'bin', name));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** A program of the host with the libraries it says it needs. */
  #install(program: string): void {
    const said = execFileSync('sh', ['-c', `ldd ${program} 2>/dev/null || true`], { encoding: 'utf8' });
    for (const path of [program, ...(said.match(/\/\S+\.so[.\d]*/g) ?? [])]) {
      mkdirSync(join(this.layer, dirname(path)), { recursive: true });
      copyFileSync(path, join(this.layer, path));
    }
  }

  [Symbol.dispose](): void {
    if (existsSync(this.mountPoint) && statSync(this.mountPoint).dev !== statSync(this.path).dev)
      execFileSync('umount', [this.mountPoint]);
    rmSync(this.path, { recursive: true });
  }
}

/** What is on disk below a directory. */
const usage = (path: string) => 1024 * Number.parseInt(execFileSync('du', ['-sk', path], { encoding: 'utf8' }), 10);

/** Takes everything out of its project, where the kernel lets it, and then writes as much as it can. */
const evade = 'mkdir /d; chattr -p 0 -R /d; chattr -P /d; chattr -p 0 /d; head -c 32m /dev/zero > /d/big';

for (const type of ['ext4', 'xfs'] as const) {
  const missing = whyMissing(type);
  const test = needs(notRoot ?? missing);

  test(
    `${type}: ids of its own are bound by project quota, and cannot leave the project`,
    async () => {
      using disk = new QuotaDisk(type);
      const writable = { dir: join(disk.mountPoint, 'kept'), size: SIZE, inodes: 100 };
      for (const capabilities of [{}, { add: ['SYS_RESOURCE', 'SYS_ADMIN'] }]) {
        const spec = { rootfs: disk.layer, writable, idMap: 'auto', capabilities } as const;
        await using container = await Container.create({ command: ['/bin/sh', '-c', evade], ...spec });
        expect(container.writeLimit).toEqual({ method: 'project-quota', sizeBytes: SIZE, inodes: 100 });
        await container.start();
        await container.wait();
        expect(usage(join(disk.mountPoint, 'kept'))).toBeLessThan(SIZE + 2 ** 20);
        // Without any room the kernel mounts the overlay read-only, which is said. Where it finds enough for its own
        // directories, as on ext4, the program is the one to be told.
        const next = run('/bin/sh', ['-c', 'head -c 1m /dev/zero > /more'], spec);
        const outcome = await next.catch((error: unknown) => error);
        if (outcome instanceof Error) {
          const said = { code: 'ERR_NS_CONTAINER_START', errnoCode: 'EROFS', hint: expect.stringContaining('no room') };
          expect(outcome).toMatchObject(said);
        } else
          expect(outcome).toMatchObject({ stderr: expect.stringMatching(/No space left|quota exceeded|I\/O error/i) });
        rmSync(join(disk.mountPoint, 'kept/data/upper/d'), { recursive: true });
        const few = await run('/bin/sh', ['-c', '(while : > /file-$((i++)); do :; done); rm /file-*'], spec);
        expect(few.stderr).toMatch(/No space left|quota exceeded/i);
      }
      // The same directory does not bind who has the host's ids.
      await expect(run('/bin/sh', [], { rootfs: disk.layer, writable })).rejects.toMatchObject({
        code: 'ERR_NS_UNAVAILABLE',
        hint: expect.stringContaining("idMap: 'auto'"),
      });
    },
    TIMEOUT_MS,
  );

  test(
    `${type}: the host's ids could leave it, and get an image instead`,
    async () => {
      using disk = new QuotaDisk(type);
      for (const options of [{}, { capabilities: { add: ['SYS_RESOURCE'] } }, { privileged: true }]) {
        const spec = { rootfs: disk.layer, writable: { dir: join(disk.mountPoint, 'kept'), size: SIZE }, ...options };
        await run('/bin/sh', ['-c', evade], spec);
        expect(usage(join(disk.mountPoint, 'kept'))).toBeLessThan(SIZE + 2 ** 20);
        await using container = await Container.create({ command: ['true'], ...spec });
        expect(container.writeLimit).toEqual({ method: 'loop-image', sizeBytes: SIZE });
      }
    },
    TIMEOUT_MS,
  );

  test(
    `${type}: a project id is free again with its directory, and its limit does not last`,
    async () => {
      using disk = new QuotaDisk(type);
      const sized = (name: string, inodes?: number) =>
        createSizedDirectory(join(disk.mountPoint, name), SIZE, {
          methods: ['project-quota'],
          ...(inodes !== undefined && { inodes }),
        });
      const limited = await sized('limited', 5);
      const project = projectOf(limited.path);
      expect(projectOf((await sized('beside')).path)).not.toBe(project);
      rmSync(join(disk.mountPoint, 'limited'), { recursive: true });
      // Ids begin at the number of the inode, which file systems give again.
      let path = '';
      for (let n = 0; projectOf(path === '' ? disk.layer : path) !== project && n < 50; n++)
        path = (await sized(`again-${n}`)).path;
      expect(projectOf(path)).toBe(project);
      for (let n = 0; n < 20; n++) writeFileSync(join(path, `${n}`), '');
    },
    TIMEOUT_MS,
  );
}

function projectOf(path: string): string {
  return execFileSync('lsattr', ['-pd', path], { encoding: 'utf8' }).trim().split(' ')[0]!;
}

function whyMissing(type: keyof typeof makeFileSystem): string | undefined {
  if (notRoot) return notRoot;
  try {
    new QuotaDisk(type)[Symbol.dispose]();
    return undefined;
  } catch {
    return `no ${type} with project quota on a loop device`;
  }
}
