import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { copyTree, diffTrees, stackStream, treeStream } from '@ns/overlayfs';
import { FileLease, needs, notRoot } from '@ns/testing';
import { Scratch } from './scratch.ts';

/* A file that its owner holds a lease on (fcntl(2), F_SETLEASE): opening it waits for him, up to 45 seconds, and whatever reads a
   tree does that on the one thread there is. */

const it = needs(notRoot);
let scratch: Scratch;
let tree: string;
beforeEach(() => {
  if (notRoot) return;
  scratch = new Scratch({ tmpfs: true });
  tree = scratch.tree('tree', { before: 'before', file: 'content', last: 'last' });
});
afterEach(() => scratch?.[Symbol.dispose]());

/** The longest time for which this thread did nothing but what was begun. */
async function heldFor(work: () => PromiseLike<unknown>): Promise<number> {
  let [longest, last] = [0, performance.now()];
  const look = () => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  const timer = setInterval(look, 10);
  await work();
  look();
  clearInterval(timer);
  return longest;
}

test.each<[string, () => PromiseLike<unknown>]>([
  ['a copy', () => copyTree(tree, '/.', scratch.dir('copy'), '/')],
  ['an archive', () => buffer(treeStream(tree))],
  ['an archive of what is below other mounts', () => buffer(treeStream(tree, { crossMounts: true }))],
  ['an archive of layers', () => buffer(stackStream([tree]))],
])('%s of a leased file is an error that says so, and holds nobody up', async (_what, work) => {
  if (notRoot) return;
  using _lease = new FileLease(join(tree, 'file'));
  const held = await heldFor(() =>
    expect(work()).rejects.toMatchObject({
      code: 'EAGAIN',
      syscall: 'openat',
      hint: expect.stringContaining('holds a lease on the file'),
    }),
  );
  expect(held).toBeLessThan(5000);
});

it('comparing takes a leased file for another one', async () => {
  const other = scratch.tree('other', { before: 'before', file: 'content', last: 'last' });
  using _lease = new FileLease(join(tree, 'file'));
  const held = await heldFor(async () =>
    expect(await diffTrees(tree, other)).toMatchObject([{ kind: 'modified', path: '/file' }]),
  );
  expect(held).toBeLessThan(5000);
});

it('who gives up his lease when he is told to is waited for', async () => {
  const copy = scratch.dir('copy');
  for (const read of [
    () => copyTree(tree, '/.', copy, '/'),
    async () => expect((await buffer(treeStream(tree))).includes('content')).toBe(true),
  ]) {
    const lease = new FileLease(join(tree, 'file'));
    setTimeout(() => lease[Symbol.dispose](), 10);
    await read();
  }
  expect(readFileSync(join(copy, 'file'), 'utf8')).toBe('content');
});
