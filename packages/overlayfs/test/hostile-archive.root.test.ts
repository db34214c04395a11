import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type ApplyLayerOptions, applyLayer } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { paxRecord, TYPE } from '../src/tar-format.ts';
import type { TarEntry } from '../src/tar-header.ts';
import { encodeHeader } from './encode-header.ts';
import { Scratch } from './scratch.ts';

/* Each case is an archive of the kind that has escaped from some unpacker; the directory beside the root is the prey. */

const it = needs(notRoot);
let scratch: Scratch;
let root: string;
let prey: string;
beforeEach(() => {
  if (notRoot) return;
  scratch = new Scratch({ tmpfs: true });
  root = scratch.dir('root');
  prey = scratch.tree('prey', { secret: 'untouched', 'dir/inner': 'untouched' });
});
afterEach(() => scratch?.[Symbol.dispose]());

type Member = Partial<TarEntry> & { path: string; content?: string };

function archive(...members: Member[]): Buffer[] {
  return [
    ...members.flatMap(({ content = '', ...member }) => [
      encodeHeader({
        type: TYPE.FILE,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtimeSec: 0,
        mtimeNsec: 0,
        ...member,
        size: member.size ?? Buffer.byteLength(content),
      }),
      Buffer.from(content),
      Buffer.alloc((512 - (Buffer.byteLength(content) % 512)) % 512),
    ]),
    Buffer.alloc(1024),
  ];
}

const link = (path: string, linkName: string): Member => ({ path, type: TYPE.SYMLINK, linkName });
const hard = (path: string, linkName: string): Member => ({ path, type: TYPE.HARD_LINK, linkName });
const dir = (path: string): Member => ({ path, type: TYPE.DIRECTORY, mode: 0o755 });

async function apply(members: Member[], options?: ApplyLayerOptions): Promise<string | undefined> {
  try {
    await applyLayer(archive(...members), root, options);
    return undefined;
  } catch (error) {
    return (error as { code: string }).code;
  } finally {
    expect(readFileSync(join(prey, 'secret'), 'utf8')).toBe('untouched');
    expect(readFileSync(join(prey, 'dir/inner'), 'utf8')).toBe('untouched');
    expect(readdirSync(prey)).toEqual(['dir', 'secret']);
    expect(readdirSync(scratch.path).sort()).toEqual(['prey', 'root']);
    expect(lstatSync(prey).mode & 0o7777).toBe(0o755);
  }
}

const UNSAFE = 'ERR_NS_UNSAFE_ARCHIVE';
const BAD = 'ERR_NS_BAD_ARCHIVE';

test.each<[string, () => Member[], string | undefined]>([
  ['a path with ..', () => [{ path: '../prey/secret', content: 'x' }], UNSAFE],
  ['.. in the middle', () => [{ path: 'a/../../prey/secret', content: 'x' }], UNSAFE],
  ['.. as a directory', () => [{ ...dir('..'), mode: 0 }], UNSAFE],
  ['an absolute path', () => [{ path: `${prey}/secret`, content: 'x' }], undefined],
  ['a file through an absolute link', () => [link('l', prey), { path: 'l/secret', content: 'x' }], undefined],
  ['a file through a relative link', () => [link('l', '../prey'), { path: 'l/secret', content: 'x' }], undefined],
  [
    'a file through two links',
    () => [link('a', '..'), link('b', 'a/../prey'), { path: 'b/secret', content: 'x' }],
    undefined,
  ],
  ['a file over a link', () => [link('l', `${prey}/secret`), { path: 'l', content: 'x' }], undefined],
  ['a directory over a link', () => [link('l', prey), { ...dir('l'), mode: 0o700 }], undefined],
  ['a device over a link', () => [link('l', `${prey}/secret`), { path: 'l', type: TYPE.FIFO }], undefined],
  ['a hard link out by ..', () => [hard('h', '../prey/secret'), { path: 'h', content: 'x' }], UNSAFE],
  ['a hard link out by an absolute path', () => [hard('h', `${prey}/secret`)], BAD],
  ['a hard link through a link', () => [link('l', prey), hard('h', 'l/secret')], BAD],
  [
    'a hard link to a link, then written',
    () => [link('l', `${prey}/secret`), hard('h', 'l'), { path: 'h', content: 'x' }],
    undefined,
  ],
  ['a hard link to itself', () => [{ path: 'f', content: 'kept' }, hard('f', './f')], undefined],
  ['a whiteout of the parent', () => [{ path: 'd/.wh...' }], UNSAFE],
  ['a whiteout of the directory', () => [{ path: '.wh..' }], UNSAFE],
  ['a whiteout without a name', () => [{ path: '.wh.' }], UNSAFE],
  ['a whiteout through a link', () => [link('l', prey), { path: 'l/.wh.secret' }], undefined],
  ['an opaque mark through a link', () => [link('l', `${prey}/dir`), { path: 'l/.wh..wh..opq' }], undefined],
  ['the root as a link', () => [link('.', prey)], UNSAFE],
  ['a loop of links', () => [link('l', 'l'), { path: 'l/x', content: '' }], 'ELOOP'],
  ['through /proc/self/root', () => [link('p', '/proc/self/root'), { path: `p${'/x'}`, content: '' }], undefined],
  ['a name as long as none may be', () => [{ path: 'n'.repeat(300) }], 'ENAMETOOLONG'],
])('%s stays inside', async (_what, members, code) => {
  if (notRoot) return;
  expect(await apply(members())).toBe(code);
  if (existsSync(join(root, 'f'))) expect(readFileSync(join(root, 'f'), 'utf8')).toBe('kept');
});

it('links that are in the directory already are no way out either', async () => {
  symlinkSync(prey, join(root, 'old'));
  expect(await apply([{ path: 'old/secret', content: 'x' }, { path: 'old/.wh.dir' }])).toBeUndefined();
  expect(await apply([{ path: '.wh.old' }])).toBeUndefined();
  expect(existsSync(join(root, 'old'))).toBe(false);
});

it('a later member replaces an earlier one of another kind', async () => {
  expect(
    await apply([
      { path: 'x/deep/file', content: '1' },
      link('x', 'y'),
      { path: 'x', content: 'file' },
      dir('x'),
      { path: 'x/in', content: '2' },
    ]),
  ).toBeUndefined();
  expect(readdirSync(join(root, 'x'))).toEqual(['in']);
  expect(existsSync(join(root, 'y'))).toBe(false);
});

it('whiteouts mean lower layers, not their own', async () => {
  mkdirSync(join(root, 'd/sub'), { recursive: true });
  writeFileSync(join(root, 'd/old'), '');
  writeFileSync(join(root, 'd/sub/old'), '');
  await apply([
    dir('d'),
    { path: 'd/new', content: '' },
    { path: 'd/sub/new', content: '' },
    { path: 'd/.wh..wh..opq' },
    { path: 'd/.wh.new' },
  ]);
  expect(readdirSync(join(root, 'd'))).toEqual(['new', 'sub']);
  expect(readdirSync(join(root, 'd/sub'))).toEqual(['new']);
});

it('an opaque mark means what was there before, also the second one', async () => {
  for (const name of ['d', 'e']) {
    mkdirSync(join(root, name, 'sub'), { recursive: true });
    writeFileSync(join(root, name, 'sub/old'), '');
  }
  const mark = 'l/.wh..wh..opq';
  await apply([link('l', 'd'), { path: mark }, { path: 'l/new', content: '' }, { path: mark }]);
  expect(readdirSync(join(root, 'd'))).toEqual(['new']);
  await apply([link('l', 'd'), { path: mark }, link('l', 'e'), { path: mark }]);
  expect([readdirSync(join(root, 'd')), readdirSync(join(root, 'e'))]).toEqual([[], []]);
});

/** How long it takes to read some members after others. */
async function timeAfter(first: Member[], then: Member[]): Promise<number> {
  let took = 0;
  await applyLayer(
    (async function* () {
      yield* archive(...first).slice(0, -1);
      const begin = performance.now();
      yield* archive(...then);
      took = performance.now() - begin;
    })(),
    root,
  );
  return took;
}

test.each([
  ['whiteouts', 40_000, (i: number) => dir(`d/${i}`), (i: number) => ({ path: `.wh.${i}` })],
  ['opaque marks', 1000, (i: number) => ({ path: `d/${i}` }), () => ({ path: 'd/.wh..wh..opq' })],
] as const)('%s cost the same however much is there', async (_what, count, there, next) => {
  if (notRoot) return;
  const list = (length: number, member: (i: number) => Member) => Array.from({ length }, (_, i) => member(i));
  const few = await timeAfter(list(100, there), list(3000, next));
  expect(await timeAfter(list(count, there), list(3000, next))).toBeLessThan(4 * few + 100);
});

it('bounds are kept before anything is written', async () => {
  expect(await apply([{ path: 'big', size: 2 ** 40 }], { maxBytes: 2 ** 20 })).toBe('ERR_NS_ARCHIVE_TOO_LARGE');
  expect(
    await apply(
      Array.from({ length: 20 }, (_, i) => ({ path: `f${i}` })),
      { maxEntries: 10 },
    ),
  ).toBe('ERR_NS_ARCHIVE_TOO_LARGE');
  expect(existsSync(join(root, 'big'))).toBe(false);
});

it('what headers say counts, too, if no member follows', async () => {
  const [header] = archive({ path: 'g', type: TYPE.PAX_GLOBAL, size: 512 });
  const record = paxRecord('comment', 'x'.repeat(512 - '512 comment=\n'.length));
  const archived = Array(10).fill(Buffer.concat([header!, Buffer.from(record)]));
  await expect(applyLayer(archived, root, { maxBytes: 1000 })).rejects.toMatchObject({
    code: 'ERR_NS_ARCHIVE_TOO_LARGE',
  });
});

it('an owner who can be nobody is refused, not taken for root', async () => {
  for (const id of [-1, 0.5, 2 ** 32 - 1, 2 ** 32, Number.NaN]) {
    for (const owner of [{ uid: id }, { gid: id }]) {
      const mapOwner = () => ({ uid: 0, gid: 0, ...owner });
      expect(await apply([{ path: 'f', mode: 0o4755 }], { mapOwner })).toBe('ERR_NS_INVALID_SPEC');
    }
  }
  expect(await apply([{ path: 'g', mode: 0o4755, uid: 2 ** 32 - 2 }])).toBeUndefined();
  expect(lstatSync(join(root, 'g')).uid).toBe(2 ** 32 - 2);
});

it('names and links are kept as bytes', async () => {
  expect(await apply([link('l', '/\udcff\udc80'), { path: 'a\nb \\ü\udcff', content: '' }])).toBeUndefined();
  expect(readlinkSync(join(root, 'l'), 'buffer')).toEqual(Buffer.from([0x2f, 0xff, 0x80]));
  expect(readdirSync(root, 'buffer')).toContainEqual(Buffer.concat([Buffer.from('a\nb \\ü'), Buffer.of(0xff)]));
});

it('a directory nested deeper than descriptors reach is removed all the same', async () => {
  let at = root;
  for (let i = 0; i < 30; i++) at = join(at, 'd'.repeat(100));
  mkdirSync(at, { recursive: true });
  // Names that directories could be moved to on the way.
  const top = join(root, 'd'.repeat(100));
  for (const n of [0, 2, 4]) writeFileSync(join(top, `.ns-removing-${n}`), '');
  for (const n of [1, 3, 5]) mkdirSync(join(top, `.ns-removing-${n}/full`), { recursive: true });
  const { openChildDirectory } = await import('../src/directory-place.ts');
  const { closeFd, mkdirAt } = await import('@ns/libc');
  let fd = openChildDirectory(-100, at);
  for (let i = 0; i < 1000; i++) {
    mkdirAt(fd, 'e', 0o755);
    const below = openChildDirectory(fd, 'e');
    closeFd(fd);
    fd = below;
  }
  closeFd(fd);
  expect(await apply([{ path: `.wh.${'d'.repeat(100)}` }])).toBeUndefined();
  expect(readdirSync(root)).toEqual([]);
});
