import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readMountinfo, unmountAll } from '@ns/mounts';
import { type MountOverlayOptions, mountOverlay } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { overlayByMount2 } from '../src/overlay-by-mount2.ts';
import { overlayParameters } from '../src/overlay-options.ts';
import { Scratch } from './scratch.ts';

const it = needs(notRoot);
let scratch: Scratch;
beforeEach(() => {
  if (!notRoot) scratch = new Scratch({ tmpfs: true });
});
afterEach(() => scratch?.[Symbol.dispose]());

const mountedAt = (target: string) => readMountinfo().filter((mount) => mount.target === target);

it('reads through, writes to the upper, says every default explicitly', () => {
  const lower = scratch.tree('lower', { a: 'lower' });
  const target = scratch.dir('merged');
  const upper = scratch.dir('upper');
  using mount = mountOverlay({
    lower: [lower],
    upper,
    work: scratch.dir('work'),
    target,
    options: ['nosuid', 'nodev'],
  });
  expect(mount.closed).toBe(false);
  expect(readFileSync(join(target, 'a'), 'utf8')).toBe('lower');
  writeFileSync(join(target, 'b'), 'new');
  expect(readFileSync(join(upper, 'b'), 'utf8')).toBe('new');
  const [info] = mountedAt(target);
  expect(info).toMatchObject({ type: 'overlay', source: 'overlay' });
  expect(info?.options).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev']));
  expect(info?.superOptions).toEqual(expect.arrayContaining(['redirect_dir=nofollow', `upperdir=${upper}`]));
});

it('one lower stays read-only whatever the options say', () => {
  const lower = scratch.tree('lower', { a: '' });
  const target = scratch.dir('merged');
  using _mount = mountOverlay({ lower: [lower], target, options: ['rw', 'rrw'] });
  expect(() => writeFileSync(join(target, 'a'), 'x')).toThrow(expect.objectContaining({ code: 'EROFS' }));
});

it('the recursive options and propagation are those of the overlay', () => {
  const target = scratch.dir('merged');
  const layers = { lower: [scratch.dir('lower')], upper: scratch.dir('upper'), work: scratch.dir('work') };
  using _mount = mountOverlay({ ...layers, target, options: ['rro', 'rnosuid', 'rnodev', 'unbindable'] });
  const [info] = mountedAt(target);
  expect(info?.options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev']));
  expect(info?.propagation.unbindable).toBe(true);
});

test.each([1, 2, 250, 500, 501, 999])('%i lowers', (count) => {
  if (notRoot) return;
  const lower = Array.from({ length: count }, (_, i) =>
    scratch.tree(`layers/${i}`, { [`only-${i}`]: String(i), top: String(i) }),
  );
  const target = scratch.dir('merged');
  using _mount = mountOverlay({ lower, upper: scratch.dir('upper'), work: scratch.dir('work'), target });
  expect(readdirSync(target)).toHaveLength(count + 1);
  expect(readFileSync(join(target, 'top'), 'utf8')).toBe('0');
  expect(readFileSync(join(target, `only-${count - 1}`), 'utf8')).toBe(String(count - 1));
});

it('a thousand lowers are too many, and it says what to do', () => {
  const lower = Array.from({ length: 1000 }, () => scratch.dir('l'));
  expect(() => mountOverlay({ lower, target: scratch.path })).toThrow(
    expect.objectContaining({
      code: 'ERR_NS_INVALID_SPEC',
      field: 'lower',
      hint: expect.stringContaining('applyLayer'),
    }),
  );
});

test.each(['a,b', 'a:b', 'a\\b', 'a\\:b,c', 'a b\nc', '=', 'ü', 'x'.repeat(250)])('directories named %j', (name) => {
  if (notRoot) return;
  const lower = scratch.tree(`${name}/lower`, { a: 'a' });
  const other = scratch.tree(`${name}/other`, { b: 'b' });
  const target = scratch.dir(`${name}/merged`);
  const upper = scratch.dir(`${name}/upper`);
  using _mount = mountOverlay({ lower: [lower, other], upper, work: scratch.dir(`${name}/work`), target });
  expect(readdirSync(target)).toEqual(['a', 'b']);
  writeFileSync(join(target, 'c'), '');
  expect(existsSync(join(upper, 'c'))).toBe(true);
});

it('without an upper it is read-only, with one layer too', () => {
  const one = scratch.tree('one', { a: '' });
  const two = scratch.tree('two', { b: '' });
  for (const lower of [[one], [one, two]]) {
    const target = scratch.dir(`merged-${lower.length}`);
    using _mount = mountOverlay({ lower, target });
    expect(() => writeFileSync(join(target, 'x'), '')).toThrow(expect.objectContaining({ code: 'EROFS' }));
  }
});

it('before 6.8: mount(2), 200 layers in one page, no trace of the way', () => {
  const layers = Array.from({ length: 200 }, (_, i) => scratch.tree(`a,b:${i}`, { [`f${i}`]: '' }));
  const upper = scratch.dir('up,per');
  const before = readMountinfo().length;
  using mount = overlayByMount2({
    source: 'overlay',
    layers,
    upper,
    work: scratch.dir('wo:rk'),
    parameters: overlayParameters({}),
    flags: 0,
  });
  expect(readMountinfo()).toHaveLength(before);
  expect(readdirSync(mount.procPath)).toHaveLength(200);
  writeFileSync(join(mount.procPath, 'new'), '');
  expect(existsSync(join(upper, 'new'))).toBe(true);
  expect(() =>
    overlayByMount2({
      source: 'overlay',
      layers: Array(300).fill(layers[0]),
      upper: undefined,
      work: undefined,
      parameters: [],
      flags: 0,
    }),
  ).toThrow(expect.objectContaining({ code: 'ERR_NS_UNAVAILABLE', hint: expect.stringContaining('6.8') }));
});

it('userxattr and volatile are taken', () => {
  const lower = scratch.tree('lower', { 'd/a': '' });
  const target = scratch.dir('merged');
  using _mount = mountOverlay({
    lower: [lower],
    upper: scratch.dir('upper'),
    work: scratch.dir('work'),
    target,
    userxattr: true,
    volatile: true,
  });
  expect(mountedAt(target)[0]?.superOptions).toEqual(
    expect.arrayContaining(['userxattr', expect.stringMatching(/^(fsync=)?volatile$/)]),
  );
});

test.each<[string, (s: Scratch) => Partial<MountOverlayOptions>, { code: string; hint?: string }]>([
  ['a layer that is not there', (s) => ({ lower: [`${s.path}/missing`] }), { code: 'ENOENT' }],
  ['the same layer twice', (s) => ({ lower: [s.dir('l'), s.dir('l')] }), { code: 'ELOOP', hint: 'overlap' }],
  ['upper without work', (s) => ({ lower: [s.dir('l')], upper: s.dir('u') }), { code: 'ERR_NS_INVALID_SPEC' }],
  ['no layer', () => ({ lower: [] }), { code: 'ERR_NS_INVALID_SPEC' }],
  [
    'metacopy with userxattr',
    (s) => ({ lower: [s.dir('l')], userxattr: true, metacopy: true }),
    { code: 'ERR_NS_INVALID_SPEC' },
  ],
  ['a wrong xino', (s) => ({ lower: [s.dir('l')], xino: 'maybe' as 'on' }), { code: 'ERR_NS_INVALID_SPEC' }],
  ['data in options', (s) => ({ lower: [s.dir('l')], options: ['lowerdir=/etc'] }), { code: 'ERR_NS_INVALID_SPEC' }],
])('%s is refused with a reason', (_what, options, { code, hint = '' }) => {
  if (notRoot) return;
  const mounted = () => readMountinfo().filter(({ target }) => target.startsWith(scratch.path));
  const before = mounted();
  expect(() => mountOverlay({ lower: [], target: scratch.dir('merged'), ...options(scratch) })).toThrow(
    expect.objectContaining({ code, ...(hint && { hint: expect.stringContaining(hint) }) }),
  );
  expect(mounted()).toEqual(before);
});

it('stays after close(), goes with unmount() and the end of a block', () => {
  const overlay = (name: string) => ({ lower: [scratch.tree(`${name}-lower`, { a: '' })], target: scratch.dir(name) });
  const [kept, gone, scoped] = [overlay('kept'), overlay('gone'), overlay('scoped')];
  mountOverlay(kept).close();
  expect(mountedAt(kept.target)).toHaveLength(1);

  const mount = mountOverlay(gone);
  expect([mount.unmount(), mount.unmount()]).toEqual([true, false]);
  expect(mountedAt(gone.target)).toEqual([]);

  {
    using _mount = mountOverlay(scoped);
    expect(mountedAt(scoped.target)).toHaveLength(1);
    unmountAll(scoped.target);
  }
  expect(mountedAt(scoped.target)).toEqual([]);
});

it('stacked overlays: two levels work, the third says why not', () => {
  let lower = scratch.tree('lower', { a: '' });
  const stack = (level: number) => {
    const target = scratch.dir(`merged-${level}`);
    mkdirSync(join(scratch.path, `u${level}`));
    mountOverlay({ lower: [lower], upper: scratch.dir(`u${level}`), work: scratch.dir(`w${level}`), target }).close();
    lower = target;
  };
  stack(1);
  stack(2);
  expect(() => stack(3)).toThrow(expect.objectContaining({ code: 'EINVAL', hint: expect.stringMatching(/stack/) }));
});
