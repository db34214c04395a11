import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  addressOf,
  allocate,
  cString,
  ERRNO,
  F,
  F_SEAL,
  fileSystemMagic,
  MAGIC,
  memfd,
  O,
  type OwnedFd,
  open,
  openat2,
  PR,
  pidfdOpen,
  pidfdSendSignal,
  pipe,
  prctl,
  RESOLVE,
  readInto,
  receive,
  removeXattr,
  SOCK,
  SOL_SOCKET,
  SpecError,
  SYS,
  setXattr,
  socketPair,
  syscall,
  watchFd,
  write,
} from '../src/index.ts';

const code = (body: () => unknown): string => {
  try {
    body();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return 'no error';
};

const linkOf = (fd: string): string | undefined => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined; // the one that the directory was read with
  }
};

describe('openat2', () => {
  let directory: string;
  let root: OwnedFd;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'openat2-'));
    mkdirSync(join(directory, 'root/etc'), { recursive: true });
    writeFileSync(join(directory, 'root/etc/passwd'), 'inside');
    writeFileSync(join(directory, 'outside'), 'outside');
    symlinkSync('/etc/passwd', join(directory, 'root/absolute'));
    symlinkSync('../../../outside', join(directory, 'root/climbing'));
    symlinkSync('/proc/self/root', join(directory, 'root/magic'));
    root = open(join(directory, 'root'), O.PATH | O.DIRECTORY);
  });
  afterAll(() => {
    root.close();
    rmSync(directory, { recursive: true });
  });
  const read = (path: string, resolve: number) => {
    using file = openat2(root.fd, path, { flags: O.RDONLY, resolve });
    return readFileSync(file.fd, 'utf8');
  };

  test('IN_ROOT: absolute links and .. stay below the directory', () => {
    expect(read('absolute', RESOLVE.IN_ROOT)).toBe('inside');
    expect(code(() => read('climbing', RESOLVE.IN_ROOT))).toBe('ENOENT');
    expect(read('../../../etc/passwd', RESOLVE.IN_ROOT)).toBe('inside');
  });

  test('BENEATH refuses to leave, NO_SYMLINKS refuses links', () => {
    expect(code(() => read('../outside', RESOLVE.BENEATH))).toBe('EXDEV');
    expect(code(() => read('absolute', RESOLVE.BENEATH))).toBe('EXDEV');
    expect(code(() => read('absolute', RESOLVE.NO_SYMLINKS))).toBe('ELOOP');
  });

  test('NO_MAGICLINKS refuses links of procfs', () => {
    using proc = open('/proc/self', O.PATH | O.DIRECTORY);
    expect(code(() => openat2(proc.fd, 'cwd', { flags: O.PATH, resolve: RESOLVE.NO_MAGICLINKS }))).toBe('ELOOP');
  });

  test('a new file gets its mode', () => {
    using file = openat2(root.fd, 'new', { flags: O.WRONLY | O.CREAT | O.EXCL, mode: 0o600, resolve: RESOLVE.IN_ROOT });
    expect(fstatSync(file.fd).mode & 0o7777).toBe(0o600);
  });
});

describe('receive', () => {
  test('nothing now, a message, the end', () => {
    const [here, there] = socketPair(SOCK.SEQPACKET);
    expect(receive(here.fd, 16)).toBeUndefined();
    write(there.fd, Buffer.from('first'));
    write(there.fd, Buffer.from('second'));
    expect(receive(here.fd, 16)!.bytes.toString()).toBe('first');
    expect(receive(here.fd, 16)!.bytes.toString()).toBe('second');
    there.close();
    expect(receive(here.fd, 16)).toMatchObject({ bytes: Buffer.alloc(0), fds: [] });
    here.close();
  });

  test('a longer message is cut, the next one is not touched', () => {
    const [here, there] = socketPair(SOCK.SEQPACKET);
    write(there.fd, Buffer.from('0123456789'));
    write(there.fd, Buffer.from('next'));
    expect(receive(here.fd, 4)!.bytes.toString()).toBe('0123');
    expect(receive(here.fd, 4)!.bytes.toString()).toBe('next');
    here.close();
    there.close();
  });

  test('a peer that went away with unread data is an end too', () => {
    const [here, there] = socketPair(SOCK.STREAM);
    write(here.fd, Buffer.from('unread'));
    there.close();
    expect(receive(here.fd, 4)!.bytes).toHaveLength(0);
    here.close();
  });

  test('descriptors come along and are close-on-exec', () => {
    const [here, there] = socketPair(SOCK.SEQPACKET);
    using file = open('/dev/zero', O.RDONLY);
    sendDescriptors(there.fd, 'with one', [file.fd]);
    const { bytes, fds } = receive(here.fd, 16, 1)!;
    expect(bytes.toString()).toBe('with one');
    expect(fds).toHaveLength(1);
    expect(fds[0]!.fd).not.toBe(file.fd);
    expect(readlinkSync(fds[0]!.procPath)).toBe('/dev/zero');
    expect(syscall(SYS.fcntl, fds[0]!.fd, F.GETFD)).toBe(1);
    sendDescriptors(there.fd, 'three', [file.fd, file.fd, file.fd]);
    const three = receive(here.fd, 16, 3)!;
    expect(three.fds.map(({ procPath }) => readlinkSync(procPath))).toEqual(['/dev/zero', '/dev/zero', '/dev/zero']);
    // Not asked for: the kernel closes them, nothing is left open here.
    sendDescriptors(there.fd, 'unwanted', [file.fd]);
    expect(receive(here.fd, 16)).toMatchObject({ fds: [] });
    for (const fd of [...fds, ...three.fds, here, there]) fd.close();
  });
});

/** sendmsg(2) with SCM_RIGHTS, packed by hand: struct msghdr, iovec, cmsghdr. */
function sendDescriptors(socket: number, text: string, fds: readonly number[]): void {
  const data = Buffer.from(text);
  const control = allocate(16 + 4 * fds.length);
  control.bytes.writeBigUInt64LE(BigInt(16 + 4 * fds.length), 0);
  control.bytes.writeInt32LE(SOL_SOCKET, 8);
  control.bytes.writeInt32LE(1, 12);
  fds.forEach((fd, i) => void control.bytes.writeInt32LE(fd, 16 + 4 * i));
  const vector = BigUint64Array.of(BigInt(addressOf(data)), BigInt(data.length));
  const header = BigUint64Array.of(
    0n,
    0n,
    BigInt(addressOf(vector)),
    1n,
    BigInt(control.address),
    BigInt(control.bytes.length),
    0n,
  );
  expect(syscall(SYS.sendmsg, socket, addressOf(header), 0)).toBe(data.length);
}

describe('watchFd', () => {
  test('tells of data, again and again, and not after it was closed', async () => {
    const { read, write: end } = pipe();
    const seen: boolean[] = [];
    const watch = watchFd(read.fd, { readable: true }, (status, ready) => {
      expect(status).toBe(0);
      seen.push(ready.readable);
      readInto(read.fd, Buffer.alloc(16));
    });
    write(end.fd, Buffer.from('a'));
    await delay(20);
    write(end.fd, Buffer.from('b'));
    await delay(20);
    expect(seen).toEqual([true, true]);
    watch.close();
    watch.close();
    write(end.fd, Buffer.from('c'));
    await delay(20);
    expect(seen).toHaveLength(2);
    read.close();
    end.close();
  });

  test('tells of the end of a process, by its pidfd', async () => {
    const { spawn } = await import('node:child_process');
    const child = spawn('sleep', ['60']);
    using pidfd = pidfdOpen(child.pid!);
    const ended = new Promise<void>((resolve) => {
      const watch = watchFd(pidfd.fd, { readable: true }, () => {
        watch.close();
        resolve();
      });
    });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    expect(pidfdSendSignal(pidfd.fd, 9)).toBe(true);
    await ended;
    await exited;
    expect(pidfdSendSignal(pidfd.fd, 9)).toBe(false);
  });

  test('after unref nothing is kept waiting for it, also after close', () => {
    const { read, write: end } = pipe();
    const watch = watchFd(read.fd, { readable: true }, () => {});
    watch.unref();
    watch.ref();
    watch[Symbol.dispose]();
    watch.unref();
    read.close();
    end.close();
  });
});

describe('memfd', () => {
  test('what cannot be sealed leaves no descriptor', () => {
    const memfds = () => readdirSync('/proc/self/fd').filter((fd) => linkOf(fd)?.startsWith('/memfd:unsealed'));
    expect(code(() => memfd('unsealed', Buffer.from('content'), { seals: 1 << 20 }))).toBe('EINVAL');
    expect(memfds()).toEqual([]);
  });

  test('holds its content and cannot be changed once sealed', () => {
    using fd = memfd('sealed', Buffer.from('content'), {
      seals: F_SEAL.SEAL | F_SEAL.SHRINK | F_SEAL.GROW | F_SEAL.WRITE,
    });
    expect(readFileSync(fd.procPath, 'utf8')).toBe('content');
    expect(code(() => write(fd.fd, Buffer.from('x')))).toBe('EPERM');
    expect(code(() => writeFileSync(fd.procPath, 'x'))).toBe('EPERM');
    expect(syscall(SYS.fcntl, fd.fd, F.ADD_SEALS, 0)).toBeLessThan(0);
  });

  test('an executable one can be executed', async () => {
    const { execFileSync } = await import('node:child_process');
    using fd = memfd('script', readFileSync('/bin/true'), { executable: true });
    // Through our own /proc entry: the child would look for the number among its own descriptors.
    expect(() => execFileSync(`/proc/${process.pid}/fd/${fd.fd}`)).not.toThrow();
  });
});

test('files: magic of the file system, a pid that is none, prctl', () => {
  using proc = open('/proc', O.RDONLY | O.DIRECTORY);
  expect(fileSystemMagic(proc.fd)).toBe(MAGIC.PROC);
  expect(code(() => pidfdOpen(2 ** 22 + 1))).toMatch(/ESRCH|EINVAL/);
  expect(prctl(PR.GET_DUMPABLE)).toBeGreaterThanOrEqual(0);
  expect(prctl(-1)).toBe(-22);
});

test('memory: zeroed, NUL-terminated, no NUL inside', () => {
  expect([...allocate(5).bytes]).toEqual([0, 0, 0, 0, 0]);
  expect(allocate(0).bytes).toHaveLength(0);
  expect([...cString('aé').bytes]).toEqual([0x61, 0xc3, 0xa9, 0]);
  expect([...cString(Buffer.of(0xff, 0x80)).bytes]).toEqual([0xff, 0x80, 0]);
  expect(() => cString('a\0b', 'env.PATH')).toThrow(SpecError);
  expect(code(() => open('/etc\0', O.RDONLY))).toBe('ERR_NS_INVALID_SPEC');
});

test('what open returns is closed by close', () => {
  const file = open('/dev/null', O.RDONLY);
  closeSync(file.release());
});

test('a name of an attribute that is too long is refused, not cut', () => {
  using directory = open(tmpdir(), O.RDONLY | O.DIRECTORY);
  const long = `user.${'x'.repeat(251)}`;
  expect(setXattr(directory.fd, '', long, Buffer.of())).toBe(-ERRNO.ERANGE);
  expect(removeXattr(directory.fd, '', long)).toBe(-ERRNO.ERANGE);
  expect(removeXattr(directory.fd, '', `${long}more`)).toBe(-ERRNO.ERANGE);
});
