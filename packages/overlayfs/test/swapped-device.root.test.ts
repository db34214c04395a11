import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { allocate, check, cString, O, OwnedFd, SYS, statAt, statFd, syscall } from '@ns/libc';
import { createMount } from '@ns/mounts';
import { needs, notRoot } from '@ns/testing';
import { sameFile } from '../src/compare-files.ts';
import { openToRead } from '../src/device-free-root.ts';
import { openDirectory } from '../src/directory-place.ts';
import { FileCopier } from '../src/file-copier.ts';
import { tarStream } from '../src/tar-stream.ts';
import { walkLayer } from '../src/walk-layer.ts';
import { Scratch } from './scratch.ts';

/* Whatever reads a tree, on a mount without nodev, while its owner puts a device in the place of a file: opening one does
   something to it already. inotify(7) tells of every open(2) of the node, by whatever name, but not of O_PATH. */

const it = needs(notRoot);
const IN_OPEN = 0x20; // <linux/inotify.h>

class Opens implements Disposable {
  readonly #watch = new OwnedFd(check('inotify_init1', syscall(SYS.inotify_init1, O.NONBLOCK)));
  readonly #buffer = allocate(4096);

  constructor(path: string) {
    check('inotify_add_watch', syscall(SYS.inotify_add_watch, this.#watch.fd, cString(path).address, IN_OPEN));
  }

  get any(): boolean {
    return syscall(SYS.read, this.#watch.fd, this.#buffer.address, 4096) > 0;
  }

  [Symbol.dispose](): void {
    this.#watch.close();
  }
}

/** A tree on a mount without nodev, and /dev/null beside it, for the place of a file that was looked at. */
class DeviceTrap implements Disposable {
  readonly #scratch = new Scratch({ tmpfs: true });
  readonly tree = this.#scratch.tree('tree', { before: 'inside', file: 'inside', last: 'inside' });
  readonly target = this.#scratch.dir('target');
  readonly #file = join(this.tree, 'file');
  readonly #device = join(this.#scratch.path, 'device');
  readonly opens: Opens;

  constructor() {
    // Nothing comes of opening it.
    execFileSync('mknod', [this.#device, 'c', '1', '3']);
    this.opens = new Opens(this.#device);
  }

  spring(): void {
    renameSync(this.#device, this.#file);
  }

  [Symbol.dispose](): void {
    expect(this.opens.any).toBe(false);
    // It would have been told.
    readFileSync(this.#file);
    expect(this.opens.any).toBe(true);
    this.opens[Symbol.dispose]();
    this.#scratch[Symbol.dispose]();
  }
}

/** What a walk finds; one file is replaced after it was found. */
function* sprung<Entry extends { name: string }>(trap: DeviceTrap, entries: Iterable<Entry>): Generator<Entry> {
  for (const entry of entries) {
    if (entry.name === 'file') trap.spring();
    yield entry;
  }
}

const names = (archive: Buffer) => [...new Set(archive.toString('latin1').match(/before|file|last/g))];

it('an archive of files that were not looked at is made on a copy of the mount that opens no device', async () => {
  using trap = new DeviceTrap();
  using root = openToRead(trap.tree, false);
  expect(root.deviceFree).toBe(true);
  const walk = () => sprung(trap, walkLayer(root.directory, { whiteouts: 'none', unopenedFiles: true }));
  expect(names(await buffer(tarStream(walk, { kind: 'tree' })))).toEqual(['before', 'last']);
});

it('an archive of files that were looked at, where there is no copy', async () => {
  using trap = new DeviceTrap();
  using root = openDirectory(trap.tree);
  const walk = () => sprung(trap, walkLayer(root, { whiteouts: 'none' }));
  expect(names(await buffer(tarStream(walk, { kind: 'tree' })))).toEqual(['before', 'last']);
});

it('comparing contents', () => {
  using trap = new DeviceTrap();
  using root = openDirectory(trap.tree);
  const named = (name: string) => ({ dirFd: root.fd, name, stat: statAt(root.fd, name)! });
  const [file, same] = [named('file'), named('last')];
  expect(sameFile(file, same, 'content')).toBe(true);
  trap.spring();
  expect(sameFile(file, same, 'content')).toBe(false);
});

it('copying', () => {
  using trap = new DeviceTrap();
  using from = openDirectory(trap.tree);
  using to = openDirectory(trap.target);
  const stat = statAt(from.fd, 'file')!;
  trap.spring();
  expect(() => [...new FileCopier().copy(from.fd, 'file', stat, to.fd, 'file')]).toThrow(
    expect.objectContaining({ code: 'ESTALE', hint: expect.stringContaining('pause') }),
  );
});

it('a mount that is nodev is read where it is; one of another mount namespace cannot be copied, and is not called safe', async () => {
  using memory = createMount({ type: 'tmpfs', options: ['nodev'] });
  using plain = openToRead(memory, false);
  expect(plain.deviceFree).toBe(true);
  expect(statFd(plain.directory.fd).mountId).toBe(statFd(memory.fd).mountId);
  const elsewhere = spawn('unshare', ['-m', 'sh', '-c', 'mount -t tmpfs x /mnt && echo ready && exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    await once(elsewhere.stdout, 'data');
    using foreign = openToRead(`/proc/${elsewhere.pid}/root/mnt`, false);
    expect(foreign.deviceFree).toBe(false);
  } finally {
    elsewhere.kill('SIGKILL');
    await once(elsewhere, 'close');
  }
});
