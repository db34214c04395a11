import { chownSync, copyFileSync, existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Container, type ContainerSpec, type CopyOptions, run } from '@ns/core';
import { needs, notRoot } from '@ns/testing';
import { kernelAtLeast, readHost } from '../src/host.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* Whose files are that cross the border of a user namespace: the same numbers on both sides, whatever lies between. */

const test = needs(notRoot);
// An overlay in a user namespace hides what it removes by attributes that its upper layer, a tmpfs, has to keep.
const keepsAttributes = needs(
  notRoot ?? (kernelAtLeast(readHost(), 6, 6) ? undefined : 'no user attributes on a tmpfs before Linux 6.6'),
);
useOwnStateRoot();
let dir: string;
let layers: string[];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'ns-owners-'));
  layers = ['top', 'base'].map((name) => join(dir, name));
  for (const layer of layers) mkdirSync(join(layer, 'srv'), { recursive: true });
  mkdirSync(join(layers[1]!, 'bin'));
  copyFileSync('/bin/busybox', join(layers[1]!, 'bin/busybox'));
  mkdirSync(join(layers[1]!, 'old/inner'), { recursive: true });
  writeFileSync(join(layers[1]!, 'old/below'), 'hidden later');
  writeFileSync(join(layers[1]!, 'srv/of-33'), 'x');
  chownSync(join(layers[1]!, 'srv/of-33'), 33, 34);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const sleeping = (spec: Partial<ContainerSpec> = {}): ContainerSpec => ({
  command: ['/bin/busybox', 'sleep', '600'],
  rootfs: { layers },
  ...spec,
});
const sh = async (container: Container, script: string) =>
  (await container.exec('/bin/busybox', ['sh', '-c', script], { check: true })).stdout;
const owner = (path: string) => {
  const { uid, gid } = lstatSync(path);
  return `${uid}:${gid}`;
};

/** Names and owners of an archive. */
async function members(archive: Readable): Promise<Record<string, string>> {
  const bytes = Buffer.concat(await archive.toArray());
  const found: Record<string, string> = {};
  for (let at = 0; at < bytes.length - 1024; ) {
    const text = (from: number, length: number) =>
      bytes.toString('latin1', at + from, at + from + length).split('\0')[0]!;
    const octal = (from: number, length: number) => Number.parseInt(text(from, length) || '0', 8);
    if (text(156, 1) !== 'x') found[text(0, 100)] = `${octal(108, 8)}:${octal(116, 8)}`;
    at += 512 + Math.ceil(octal(124, 12) / 512) * 512;
  }
  return found;
}

const script = `
  echo made > /srv/made; busybox chown 7:8 /srv/made
  echo more >> /srv/of-33
  busybox rm -r /old; busybox mkdir /old; echo new > /old/new
`;

describe.each([
  ['ids of the host', {}],
  ['ids of its own', { idMap: 'auto' }],
] as const)('with %s', (title, spec) => {
  const test = 'idMap' in spec ? keepsAttributes : needs(notRoot);
  const place = (name: string) => join(dir, `${name}-${title.at(-3)}`);

  test('copies in and out keep owners, or give them to somebody', () =>
    leavesNothing(async () => {
      const source = place('source');
      mkdirSync(join(source, 'private'), { recursive: true });
      writeFileSync(join(source, 'private/file'), 'content', { mode: 0o600 });
      chownSync(join(source, 'private/file'), 7, 8);
      await using container = await Container.create(sleeping(spec));
      await container.start();
      await container.copyIn(source, '/srv/in/kept');
      await container.copyIn(source, '/srv/in/given', { ownership: { uid: 5, gid: 6 } });
      await container.copyIn(source, '/srv/in/mine', { ownership: 'ignore' });
      expect(
        await sh(
          container,
          'busybox stat -c %u:%g:%a /srv/in /srv/in/*/private/file; busybox cat /srv/in/kept/private/file',
        ),
      ).toBe('0:0:755\n5:6:600\n7:8:600\n0:0:600\ncontent');
      await sh(container, script);
      await container.copyOut('/srv', place('out'));
      expect(['made', 'of-33', 'in/given/private/file'].map((name) => owner(join(place('out'), name)))).toEqual([
        '7:8',
        '33:34',
        '5:6',
      ]);
      await container.copyOut('/srv/made', place('given'), { ownership: { uid: 1, gid: 2 } });
      expect(owner(place('given'))).toBe('1:2');
    }));

  test('what a program may do as the owner of a file it may not do as somebody who is given it', () =>
    leavesNothing(async () => {
      await using container = await Container.create(sleeping(spec));
      await container.start();
      await sh(container, 'cd /srv; echo x > tool; busybox chown 7:8 tool; busybox chmod 6755 tool');
      const modeOf = async (name: string, options?: CopyOptions) => {
        const path = place(`tool-${name}`);
        const { skipped } = await container.copyOut('/srv/tool', path, options);
        return { mode: (lstatSync(path).mode & 0o7777).toString(8), owner: owner(path), skipped: skipped.length };
      };
      expect(await modeOf('kept')).toEqual({ mode: '6755', owner: '7:8', skipped: 0 });
      expect(await modeOf('mine', { ownership: 'ignore' })).toEqual({ mode: '755', owner: '0:0', skipped: 1 });
      const ownership = { uid: 0, gid: 0 };
      expect(await modeOf('given', { ownership })).toEqual({ mode: '755', owner: '0:0', skipped: 1 });
      const privileges = 'keep';
      expect(await modeOf('asked', { ownership, privileges })).toMatchObject({ mode: '6755', skipped: 0 });
    }));

  test('a stopped one can be copied into and out of, exported, and goes on with it', () =>
    leavesNothing(async () => {
      const source = place('later');
      writeFileSync(source, 'later');
      chownSync(source, 7, 8);
      await using container = await Container.create(sleeping(spec));
      await container.start();
      await sh(container, script);
      const running = await members(container.export());
      await container.stop({ timeout: 10 });
      expect(await members(container.export({ exclude: (path) => /^(proc|sys|dev)$/.test(path) }))).toEqual(
        Object.fromEntries(Object.entries(running).filter(([name]) => !/^(proc|sys|dev)\//.test(name))),
      );
      expect(running).toMatchObject({
        'srv/made': '7:8',
        'srv/of-33': '33:34',
        'old/new': '0:0',
        'bin/busybox': '0:0',
      });
      expect(Object.keys(running)).not.toContain('old/below');
      if (!kernelAtLeast(readHost(), 6, 15)) {
        await expect(container.copyIn(source, '/srv/later')).rejects.toMatchObject({ code: 'ERR_NS_UNAVAILABLE' });
        await expect(container.copyOut('/srv', place('stopped'))).rejects.toMatchObject({ code: 'ERR_NS_UNAVAILABLE' });
        return;
      }
      await container.copyIn(source, '/srv/later');
      await container.copyOut('/srv', place('stopped'));
      expect(['made', 'of-33', 'later'].map((name) => owner(join(place('stopped'), name)))).toEqual([
        '7:8',
        '33:34',
        '7:8',
      ]);
      // Somebody else takes ids meanwhile: these are still its own.
      await using other = await Container.create(sleeping(spec));
      await container.start();
      await other.start();
      expect(await sh(container, 'busybox stat -c %u:%g /srv/made /srv/later; echo >> /srv/made')).toBe('7:8\n7:8\n');
    }));

  keepsAttributes('a commit, a diff, an archive and what is applied have the owners that are inside', () =>
    leavesNothing(async () => {
      await using container = await Container.create(sleeping(spec));
      await container.start();
      await sh(container, script);
      await container.stop({ timeout: 10 });
      const changes = (await container.diff()).map(
        (change) => `${change.kind} ${change.path} ${change.uid}:${change.gid}`,
      );
      expect(changes).toEqual(
        expect.arrayContaining([
          'added /old/new 0:0',
          'deleted /old/below 0:0',
          'added /srv/made 7:8',
          'modified /srv/of-33 33:34',
        ]),
      );
      // A directory is in the upper because something below it is.
      expect(changes.filter((change) => / \/(srv|bin) /.test(change))).toEqual([]);
      expect(await members(container.diffStream())).toMatchObject({ 'srv/made': '7:8', 'srv/of-33': '33:34' });

      const layer = await container.commit(place('store'));
      expect(['made', 'of-33'].map((name) => owner(join(layer.path, 'srv', name)))).toEqual(['7:8', '33:34']);
      // Whoever begins with the layer: its own ids, and the host's. What it deleted is deleted for both.
      for (const next of [{}, { idMap: 'auto' }] as const) {
        const { stdout } = await run('/bin/busybox', ['sh', '-c', 'busybox stat -c %u:%g /srv/*; busybox ls /old'], {
          rootfs: { layers: [layer.path, ...layers] },
          ...next,
        });
        expect(stdout).toBe('7:8\n33:34\nnew\n');
      }
      const target = place('applied');
      mkdirSync(join(target, 'srv'), { recursive: true });
      await container.apply(target);
      expect(owner(join(target, 'srv/made'))).toBe('7:8');
    }),
  );

  keepsAttributes('forks, and forks of forks, go on with the files, in ids of their own', () =>
    leavesNothing(async () => {
      await using container = await Container.create(sleeping(spec));
      await container.start();
      await sh(container, script);
      await container.pause();
      const forks = await container.fork(2);
      await container.resume();
      const [first, second] = forks as [Container, Container];
      await first.start();
      await sh(first, 'echo first > /srv/first; busybox rm /srv/made');
      const [third] = (await first.fork(1, idMapOf(spec) ? {} : { idMap: 'auto' })) as [Container];
      await second.start();
      await third.start();
      try {
        const look = 'busybox stat -c %n:%u:%g /srv/*; busybox ls /old; echo x >> /srv/of-33';
        expect(await sh(second, look)).toBe('/srv/made:7:8\n/srv/of-33:33:34\nnew\n');
        expect(await sh(third, look)).toBe('/srv/first:0:0\n/srv/of-33:33:34\nnew\n');
        await third.stop({ timeout: 10 });
        // All that it is more than its image, whoever made it.
        const { path } = await third.commit(place('forked'));
        expect(existsSync(join(path, 'old/new'))).toBe(true);
        expect((await third.diff()).map((change) => change.path)).toEqual(
          expect.arrayContaining(['/srv/first', '/old/new']),
        );
      } finally {
        for (const fork of [...forks, third]) await fork.remove({ force: true });
      }
    }),
  );
});

const idMapOf = (spec: Partial<ContainerSpec>) => spec.idMap;

test('a fork needs a place for the files it begins with', async () => {
  await using container = await Container.create(sleeping());
  await expect(container.fork(1, { writable: 'none' })).rejects.toMatchObject({
    code: 'ERR_NS_INVALID_SPEC',
    field: 'writable',
  });
});

test('one that cannot be written to has a fork, also where places of mounts were made in it', async () => {
  const mounts = [{ type: 'tmpfs', target: '/no/such/place' }] as const;
  await using container = await Container.create({ command: ['sleep', 'infinity'], writable: 'none', mounts });
  const [fork] = await container.fork(1);
  await using made = fork!;
  await made.start();
  const { stderr } = await made.exec('touch', ['/no/such/place/file', '/no/such/other']);
  expect(stderr).toMatch(/^touch: .*\/no\/such\/other.*: Read-only file system\n$/);
});

test('what is in no layer of its own cannot be kept as one', async () => {
  await using container = await Container.create(sleeping({ writable: 'none' }));
  await expect(async () => container.commit(join(dir, 'none'))).rejects.toMatchObject({ code: 'ERR_NS_NO_LAYER' });
});

test('a view of the machine with ids of its own has many layers: what knows one alone says so', async () => {
  await using container = await Container.create({ command: ['sh', '-c', 'echo made > /opt/made'], idMap: 'auto' });
  await container.start();
  await container.wait();
  expect((await container.diff()).map(({ path }) => path)).toEqual(['/opt/made']);
  const refused = { code: 'ERR_NS_NO_LAYER', hint: expect.stringMatching(/while it runs/) };
  await expect(container.copyOut('/opt/made', join(dir, 'made'))).rejects.toMatchObject(refused);
  await expect(container.commit(join(dir, 'many'))).rejects.toMatchObject(refused);
  expect(() => container.export()).toThrow(/a layer for each directory/);
});
