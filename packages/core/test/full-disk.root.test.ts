import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { needs, notRoot } from '@ns/testing';
import { Container, Network, run, Volume } from '../src/index.ts';
import { leavesNothing, useOwnStateRoot } from './leaves-nothing.ts';

/* What takes state cannot be made where there is no room for that; it says so, and nothing of it stays. */

const rootTest = needs(notRoot);
// Before its directory is removed.
afterAll(() => execFileSync('umount', ['--lazy', root.path]));
const root = useOwnStateRoot();
beforeAll(() => execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,nr_inodes=100', 'tmpfs', root.path]));

const bytes = Buffer.alloc(4096);
const fillers: Readonly<Record<string, (index: number) => void>> = {
  bytes: () => writeFileSync(join(root.path, 'filler'), bytes, { flag: 'a' }),
  files: (index) => writeFileSync(join(root.path, `filler-${index}`), ''),
};

/** Writes until it is full. */
function fill(write: (index: number) => void): Disposable {
  expect(() => {
    for (let index = 0; ; index++) write(index);
  }).toThrow('ENOSPC');
  return {
    [Symbol.dispose]: () => {
      for (const name of readdirSync(root.path))
        if (name.startsWith('filler')) rmSync(join(root.path, name), { force: true });
    },
  };
}

const makers: Readonly<Record<string, () => Promise<{ remove(): Promise<unknown> }>>> = {
  'a container': () => Container.create({ command: ['true'], name: 'full' }),
  'a network': () => Network.create({ name: 'full' }),
  'a volume': () => Volume.create({ name: 'full' }),
  'ids for a container': async () => {
    await run('true', [], { idMap: 'auto' });
    return { remove: async () => {} };
  },
};
for (const [kind, write] of Object.entries(fillers))
  for (const [name, make] of Object.entries(makers))
    rootTest(`no room for more ${kind}: ${name}`, () =>
      leavesNothing(async () => {
        {
          using _full = fill(write);
          await expect(make()).rejects.toMatchObject({ code: 'ENOSPC', hint: expect.stringContaining('full') });
        }
        expect(await Container.list()).toEqual([]);
        expect(await Network.list()).toEqual([]);
        expect(await Volume.list()).toEqual([]);
        const made = await make();
        await made.remove();
      }),
    );
