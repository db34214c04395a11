import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { AT_FDCWD, mknodAt, S } from '@ns/libc';
import { needs, notRoot, Swapper } from '@ns/testing';
import { NsError, type RunOptions, run } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* A root file system made by an enemy: wherever we mount, write or look, something else stands. */

const rootTest = needs(notRoot ?? (existsSync('/bin/busybox') ? undefined : 'not installed: busybox-static'));
useOwnStateRoot();
let scratch: string;
/** A directory of the host that must stay as it is. */
let canary: string;
let root: string;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'core-hostile-'));
  canary = join(scratch, 'canary');
  root = join(scratch, 'root');
  mkdirSync(join(canary, 'pts'), { recursive: true });
  writeFileSync(join(canary, 'hosts'), 'of the host\n');
  writeFileSync(join(canary, 'passwd'), 'canary:x:77:77::/:/bin/sh\n');
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  chmodSync(join(root, 'bin/busybox'), 0o755);
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

const mountPoints = ['proc', 'sys', 'dev', 'etc', 'tmp'] as const;
const placements = {
  'a link to /': (path: string) => symlinkSync('/', path),
  'a link out of the root': (path: string) => symlinkSync(`../../../../../../../../..${canary}`, path),
  'a relative link upwards': (path: string) => symlinkSync(relative(root, canary), path),
  'an absolute link to the host': (path: string) => symlinkSync(canary, path),
  'a link through /proc': (path: string) => symlinkSync('/proc/1/root/tmp', path),
  'a link to itself': (path: string) => symlinkSync(path.slice(root.length), path),
  'a file': (path: string) => writeFileSync(path, 'no directory\n'),
  'a FIFO': (path: string) => node(path, S.IFIFO),
  'a link that another leads back to': (path: string) => {
    symlinkSync(`${path.slice(root.length)}-back`, path);
    symlinkSync(path.slice(root.length), `${path}-back`);
  },
  'a socket': (path: string) => node(path, S.IFSOCK),
  'a character device': (path: string) => node(path, S.IFCHR, 1, 5),
  'a block device': (path: string) => node(path, S.IFBLK, 7, 0),
};

/** A file of another kind; by mknod(2), a socket too. */
function node(path: string, mode: number, major = 0, minor = 0): void {
  expect(mknodAt(AT_FDCWD, path, mode | 0o666, major, minor)).toBe(0);
}

const roots = {
  'an overlay of it': () => ({ rootfs: { layers: [root] } }),
  'it, read-only': () => ({ rootfs: { dir: root, readonly: true } }),
  'it directly': () => ({ rootfs: { dir: root }, writable: 'direct' as const }),
};

/** Everything below a directory: type, mode, size and time of the last change. */
function fingerprint(directory: string): string[] {
  return ['', ...readdirSync(directory, { recursive: true, encoding: 'utf8' })].sort().map((name) => {
    const { mode, size, mtimeMs, nlink } = lstatSync(join(directory, name));
    return [name, mode.toString(8), size, mtimeMs, nlink].join(' ');
  });
}

/** Mounts of the host here; `leavesNothing` looks at those on /, /proc, /sys and /dev. */
const mountTable = () =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(scratch));

/** Runs something that may fail, but only in one way: with an error of ours. */
async function attempt(options: RunOptions, script = 'echo inside'): Promise<string> {
  try {
    const { stdout, stderr, exitCode } = await run(['/bin/busybox', 'sh', '-c', script], {
      timeout: 10_000,
      ...options,
    });
    return exitCode === 0 ? stdout : stderr;
  } catch (error) {
    expect(error).toBeInstanceOf(NsError);
    return (error as NsError).code;
  }
}

for (const [view, options] of Object.entries(roots)) {
  describe(`${view}`, () => {
    for (const [what, place] of Object.entries(placements)) {
      rootTest(`${what} where we mount touches nothing outside`, () =>
        leavesNothing(async () => {
          for (const point of mountPoints) {
            const path = join(root, point);
            place(path);
            const before = [fingerprint(canary), mountTable()];
            const outcome = await attempt(
              options(),
              'echo inside; ls /proc/1/comm && cat /proc/self/mountinfo >/dev/null; test -c /dev/null && echo ok',
            );
            expect([point, fingerprint(canary), mountTable()]).toEqual([point, ...before]);
            // A sandbox either is a whole one or there is none.
            expect([point, outcome]).toEqual([
              point,
              expect.stringMatching(/^inside\n(.*\n)*ok\n$|^ERR_NS_CONTAINER_START$/),
            ]);
            for (const made of [path, `${path}-back`]) rmSync(made, { force: true });
          }
        }),
      );
    }
  });
}

rootTest('an overlay replaces what stands in the places of mounts: the sandbox works', async () => {
  for (const point of ['proc', 'sys', 'dev'] as const) {
    for (const place of Object.values(placements)) {
      const path = join(root, point);
      place(path);
      expect(await attempt({ rootfs: { layers: [root] } }, 'cat /proc/1/comm')).toBe('ns-init\n');
      for (const made of [path, `${path}-back`]) rmSync(made, { force: true });
    }
  }
});

const given = ['hosts', 'resolv.conf', 'hostname'] as const;

const fileOfTheHost = {
  'a link to a file of the host': (path: string) => symlinkSync(join(canary, 'hosts'), path),
  'a link upwards to it': (path: string) => symlinkSync(relative(join(root, 'etc'), join(canary, 'hosts')), path),
  'a dangling link': (path: string) => symlinkSync(join(canary, 'made'), path),
  'a directory': (path: string) => mkdirSync(path),
};

for (const [view, options] of Object.entries(roots)) {
  rootTest(`${view}: whatever is in the places of the files we give, nothing outside is touched`, () =>
    leavesNothing(async () => {
      for (const [what, place] of Object.entries({ ...placements, ...fileOfTheHost })) {
        mkdirSync(join(root, 'etc'));
        for (const name of given) place(join(root, 'etc', name));
        const before = [fingerprint(canary), mountTable()];
        const outcome = await attempt(
          { ...options(), hostname: 'inside', extraHosts: { peer: '192.0.2.7' } },
          'echo inside; cd /etc; for f in hosts hostname resolv.conf; do test -f $f || exit 1; done; cat hostname; grep -c 192.0.2.7 hosts',
        );
        expect([what, fingerprint(canary), mountTable()]).toEqual([what, ...before]);
        // Ours where an overlay covers what stands there; of a directory itself, what it has.
        if (view !== 'it directly') expect([what, outcome]).toEqual([what, 'inside\ninside\n1\n']);
        else
          expect([what, outcome]).toEqual([
            what,
            expect.stringMatching(/^(|no directory\n0\n)$|^ERR_NS_CONTAINER_START$/),
          ]);
        rmSync(join(root, 'etc'), { recursive: true });
      }
    }),
  );
}

describe('paths of the specification lead to the inside only', () => {
  const links = () => {
    symlinkSync(canary, join(root, 'absolute'));
    symlinkSync(`../../../../../../..${canary}`, join(root, 'upwards'));
    symlinkSync('/proc/1/root', join(root, 'magic'));
  };
  for (const [view, options] of Object.entries(roots)) {
    for (const link of ['absolute', 'upwards', 'magic']) {
      rootTest(`${view}: mounts, files and the working directory through a link "${link}"`, () =>
        leavesNothing(async () => {
          links();
          mkdirSync(join(root, 'tmp'));
          const source = join(scratch, 'source');
          mkdirSync(source);
          const before = [fingerprint(canary), mountTable()];
          const target = `/${link}/new`;
          for (const more of [
            { mounts: [{ source, target }] },
            { mounts: [{ type: 'tmpfs' as const, target }] },
            { mounts: [{ type: 'file' as const, target, content: 'x' }] },
            { mounts: [{ source: join(canary, 'hosts'), target: `/${link}/hosts` }] },
            { cwd: target },
            { maskedPaths: [`/${link}/hosts`] },
            { readonlyPaths: [`/${link}`] },
          ]) {
            await attempt({ ...options(), ...more });
            expect([Object.keys(more), fingerprint(canary), mountTable()]).toEqual([Object.keys(more), ...before]);
          }
        }),
      );
    }
  }

  rootTest('/etc/passwd is looked up inside, and only when it is a file of a sane size', () =>
    leavesNothing(async () => {
      mkdirSync(join(root, 'etc'));
      const passwd = join(root, 'etc/passwd');
      const asUser = () => attempt({ rootfs: root, user: 'canary' }, 'id -u');
      symlinkSync(join(canary, 'passwd'), passwd);
      expect(await asUser()).toBe('ERR_NS_INVALID_SPEC');
      rmSync(passwd);
      symlinkSync(`../../../../../../../..${canary}/passwd`, passwd);
      expect(await asUser()).toBe('ERR_NS_INVALID_SPEC');
      rmSync(passwd);
      node(passwd, S.IFIFO);
      expect(await asUser()).toMatch(/^ERR_NS_/);
      rmSync(passwd);
      symlinkSync('/dev/zero', passwd);
      expect(await asUser()).toMatch(/^ERR_NS_/);
      rmSync(passwd);
      copyFileSync(join(canary, 'passwd'), passwd);
      expect(await asUser()).toBe('77\n');
    }),
  );

  rootTest('a program that is a link leads to the inside', async () => {
    symlinkSync('/usr/bin/id', join(root, 'bin/id'));
    symlinkSync('../../../../../../../../usr/bin/env', join(root, 'bin/env'));
    for (const program of ['/bin/id', '/bin/env'])
      expect(await run(program, [], { rootfs: root })).toMatchObject({ exitCode: 127 });
  });
});

rootTest('a container that exchanges its own directories cannot lead an exec outside', async () => {
  const { Container } = await import('../src/index.ts');
  await using container = await Container.create({ command: ['/bin/busybox', 'sleep', '60'], rootfs: root });
  await container.start();
  const inside = (script: string) => container.exec(['/bin/busybox', 'sh', '-c', script]);
  await inside(`/bin/busybox ln -s ${canary} /etc; /bin/busybox ln -s ../../../../../..${canary} /cwd`);
  await expect(container.exec(['/bin/busybox', 'id'], [], { user: 'canary' })).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
  });
  const before = fingerprint(canary);
  await container.exec(['/bin/busybox', 'touch', 'made'], [], { cwd: '/cwd' }).catch(() => {});
  expect(fingerprint(canary)).toEqual(before);
});

for (const [view, options] of Object.entries(roots)) {
  rootTest(`${view}: somebody who swaps its directories for links while it is set up leads nothing outside`, () =>
    leavesNothing(async () => {
      const swapped = ['proc', 'sys', 'dev', 'etc', 'tmp', 'srv', 'opt'];
      for (const name of swapped) {
        mkdirSync(join(root, name));
        symlinkSync(canary, join(root, `${name}-evil`));
      }
      writeFileSync(join(root, 'opt/hosts'), 'of the image\n');
      const source = join(scratch, 'source');
      mkdirSync(source);
      const before = [fingerprint(canary), mountTable()];
      const outcomes = new Set<string>();
      {
        await using _enemy = new Swapper(
          root,
          swapped.map((name) => [name, `${name}-evil`] as const),
        );
        for (let round = 0; round < 40; round++) {
          const outcome = await attempt(
            {
              ...options(),
              mounts: [
                { type: 'tmpfs', target: '/srv/memory' },
                { type: 'file', target: '/etc/key', content: 'x' },
                { source, target: '/srv/bind' },
                { source: '/bin/busybox', target: '/tmp/hosts' },
              ],
              cwd: '/srv/cwd',
              maskedPaths: ['/opt/hosts', '/opt/pts'],
              readonlyPaths: ['/opt'],
              extraHosts: { peer: '192.0.2.7' },
            },
            'echo inside; cat /srv/hosts /opt/hosts /tmp/passwd; test -c /dev/null && echo ok',
          );
          expect(outcome).not.toMatch(/of the host|canary/);
          outcomes.add(outcome.replace(/^cat: .*\n/gm, ''));
          expect([fingerprint(canary), mountTable()]).toEqual(before);
        }
      }
      // Whose root is not covered may lose a directory after the start, as a container of his own could.
      const whole = /^ERR_NS_|^inside\nok\n$/;
      if (view !== 'it directly') expect([...outcomes].filter((outcome) => !whole.test(outcome))).toEqual([]);
    }),
  );
}
