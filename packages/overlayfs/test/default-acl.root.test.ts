import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { setXattr } from '@ns/libc';
import { applyChanges, applyLayer, copyTree, diffTrees, snapshot, treeStream } from '@ns/overlayfs';
import { needs, notRoot } from '@ns/testing';
import { openDirectory } from '../src/directory-place.ts';
import { Scratch } from './scratch.ts';

/* A file of mode 0640 without an ACL, in a directory that gives ACLs to what is made in it: whom they name must not read the copy. */

const it = needs(notRoot);
let scratch: Scratch;
let source: string;
beforeEach(() => {
  if (notRoot) return;
  scratch = new Scratch({ tmpfs: true });
  source = scratch.tree('source', { 'd/secret': 's', 'd/other': 'o', 'd/sub/secret': 's', 'd/sub/deep/secret': 's' });
  for (const name of ['secret', 'other', 'sub/secret', 'sub/deep/secret']) chmodSync(join(source, 'd', name), 0o640);
  for (const name of ['d', 'd/sub/deep']) giveAcls(join(source, name));
});
afterEach(() => scratch?.[Symbol.dispose]());

/** linux/posix_acl_xattr.h, version 2: what is made here can be read by user 1234. */
function giveAcls(directory: string): void {
  const entry = (tag: number, bits: number, id = -1) => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt16LE(tag, 0);
    bytes.writeUInt16LE(bits, 2);
    bytes.writeInt32LE(id, 4);
    return bytes;
  };
  const entries = [entry(1, 7), entry(2, 4, 1234), entry(4, 5), entry(0x10, 5), entry(0x20, 0)];
  using place = openDirectory(directory);
  const acl = Buffer.concat([Buffer.of(2, 0, 0, 0), ...entries]);
  expect(setXattr(place.fd, '', 'system.posix_acl_default', acl)).toBe(0);
}

const copies: Record<string, (target: string) => Promise<unknown>> = {
  applyLayer: (target) => applyLayer(treeStream(source), target),
  applyChanges: (target) => applyChanges(source, target),
  'applyChanges of one file': (target) => applyChanges(source, target, { select: (path) => path === '/d/sub/secret' }),
  copyTree: (target) => copyTree(source, '/.', target, '/'),
  snapshot: (target) => snapshot(source, target),
};
for (const [what, copy] of Object.entries(copies)) {
  it(`${what} leaves no ACL that the source does not have`, async () => {
    const target = scratch.dir('target');
    // Nor one of the place that it goes to.
    if (what !== 'snapshot') giveAcls(target);
    await copy(target);
    const modified = (await diffTrees(source, target)).filter(({ kind }) => kind === 'modified');
    expect(modified.map(({ path }) => path)).toEqual(what.endsWith('one file') ? ['/d'] : []);
  });
}
