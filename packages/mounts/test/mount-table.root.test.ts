import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mount, umount } from '@ns/libc';
import { MountTable } from '../src/mount-table.ts';

test('is read again when, and only when, a mount came or went', () => {
  using table = new MountTable();
  const directory = mkdtempSync(join(tmpdir(), 'mount-table-'));
  const there = () => table.read().some(({ target }) => target === directory);
  try {
    expect(there()).toBe(false);
    mount('none', directory, 'tmpfs', 0);
    try {
      expect(there()).toBe(true);
    } finally {
      umount(directory);
    }
    expect(there()).toBe(false);
  } finally {
    rmdirSync(directory);
  }
});

test('is the same array while nothing changes', async () => {
  using table = new MountTable();
  // Others on the machine mount and unmount too: one quiet moment is enough.
  let same = false;
  for (let attempt = 0; attempt < 100 && !same; attempt++) {
    const before = table.read();
    same = table.read() === before;
  }
  expect(same).toBe(true);
});
