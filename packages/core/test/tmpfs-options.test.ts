import type { SpecError } from '@ns/libc';
import { resolveMount } from '../src/mounts.ts';

const context = { ids: { idMaps: undefined, user: { uid: 0, gid: 0 } }, canCloneMounts: true } as never;
const options = (...list: string[]) => resolveMount({ type: 'tmpfs', target: '/x', options: list }, 2, context);

test.each([
  ['sise=1m', "Did you mean 'size'?"],
  ['nr_inode=5', "Did you mean 'nr_inodes'?"],
  ['journal', 'Known here: size, nr_blocks, '],
  ['toString', 'Known here: size'],
])('an option that a tmpfs does not have is named, with those it has: %s', (option, hint) => {
  expect(() => options('nosuid', 'size=1m', option)).toThrow(
    expect.objectContaining<Partial<SpecError>>({
      code: 'ERR_NS_INVALID_SPEC',
      field: 'mounts[2].options',
      received: option,
      hint: expect.stringContaining(hint),
    }),
  );
});

test.each(['size=abc', 'size', 'uid=x', 'mode=9', 'nr_inodes=-5', 'huge=often', 'noswap=1', 'size='])(
  'so is one with a value that it cannot have: %s',
  (option) => {
    expect(() => options(option)).toThrow(expect.objectContaining({ field: 'mounts[2].options', received: option }));
  },
);

test('all that the kernel knows is given to it', () => {
  const list = [
    'size=50%',
    'nr_blocks=1m',
    'nr_inodes=1k',
    'mode=0755',
    'uid=5',
    'gid=6',
    'huge=within_size',
    'inode64',
  ];
  expect(options(...list, 'sync', 'lazytime', 'noexec', 'mpol=bind:0', 'noswap')).toMatchObject({
    options: { size: '50%', nr_blocks: '1m', mode: '0755', inode64: true, sync: true, noswap: true },
  });
});
