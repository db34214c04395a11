import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import {
  addressOf,
  allocate,
  check,
  O,
  open,
  readDirectory,
  S,
  SYS,
  statAt,
  statFd,
  syscall,
  utimesAt,
} from '../src/index.ts';

/* Structs are packed by hand, because that is twenty times as fast. Here a C compiler's rules say where the fields are. */

const u64 = 'uint64_t';
const timespec = koffi.struct({ tv_sec: 'int64_t', tv_nsec: 'int64_t' });
const timeval = koffi.struct({ tv_sec: 'int64_t', tv_usec: 'int64_t' });
const statxTimestamp = koffi.struct({ tv_sec: 'int64_t', tv_nsec: 'uint32_t', reserved: 'int32_t' });

// biome-ignore format: a table
const structs = {
  open_how: koffi.struct({ flags: u64, mode: u64, resolve: u64 }),
  mount_attr: koffi.struct({ attr_set: u64, attr_clr: u64, propagation: u64, userns_fd: u64 }),
  clone_args: koffi.struct({ flags: u64, pidfd: u64, child_tid: u64, parent_tid: u64, exit_signal: u64, stack: u64, stack_size: u64, tls: u64, set_tid: u64, set_tid_size: u64, cgroup: u64 }),
  iovec: koffi.struct({ iov_base: 'void *', iov_len: 'size_t' }),
  msghdr: koffi.struct({ msg_name: 'void *', msg_namelen: 'uint32_t', msg_iov: 'void *', msg_iovlen: 'size_t', msg_control: 'void *', msg_controllen: 'size_t', msg_flags: 'int' }),
  cmsghdr: koffi.struct({ cmsg_len: 'size_t', cmsg_level: 'int', cmsg_type: 'int' }),
  pollfd: koffi.struct({ fd: 'int', events: 'short', revents: 'short' }),
  sock_fprog: koffi.struct({ len: 'unsigned short', filter: 'void *' }),
  sock_filter: koffi.struct({ code: 'uint16_t', jt: 'uint8_t', jf: 'uint8_t', k: 'uint32_t' }),
  itimerval: koffi.struct({ it_interval: timeval, it_value: timeval }),
  rlimit: koffi.struct({ rlim_cur: u64, rlim_max: u64 }),
  user_cap_header: koffi.struct({ version: 'uint32_t', pid: 'int' }),
  user_cap_data: koffi.struct({ effective: 'uint32_t', permitted: 'uint32_t', inheritable: 'uint32_t' }),
  rusage: koffi.struct({ ru_utime: timeval, ru_stime: timeval, ru_maxrss: 'long', ru_ixrss: 'long', ru_idrss: 'long', ru_isrss: 'long', ru_minflt: 'long', ru_majflt: 'long', ru_nswap: 'long', ru_inblock: 'long', ru_oublock: 'long', ru_msgsnd: 'long', ru_msgrcv: 'long', ru_nsignals: 'long', ru_nvcsw: 'long', ru_nivcsw: 'long' }),
  statx: koffi.struct({
    stx_mask: 'uint32_t', stx_blksize: 'uint32_t', stx_attributes: u64, stx_nlink: 'uint32_t', stx_uid: 'uint32_t', stx_gid: 'uint32_t', stx_mode: 'uint16_t', spare0: 'uint16_t',
    stx_ino: u64, stx_size: u64, stx_blocks: u64, stx_attributes_mask: u64,
    stx_atime: statxTimestamp, stx_btime: statxTimestamp, stx_ctime: statxTimestamp, stx_mtime: statxTimestamp,
    stx_rdev_major: 'uint32_t', stx_rdev_minor: 'uint32_t', stx_dev_major: 'uint32_t', stx_dev_minor: 'uint32_t', stx_mnt_id: u64,
  }),
};

// biome-ignore format: a table
test.each<[struct: keyof typeof structs, size: number, offsets: Record<string, number>]>([
  ['open_how', 24, { flags: 0, mode: 8, resolve: 16 }],
  ['mount_attr', 32, { attr_set: 0, attr_clr: 8, propagation: 16, userns_fd: 24 }],
  ['clone_args', 88, { flags: 0, pidfd: 8, exit_signal: 32, cgroup: 80 }],
  ['iovec', 16, { iov_base: 0, iov_len: 8 }],
  ['msghdr', 56, { msg_iov: 16, msg_iovlen: 24, msg_control: 32, msg_controllen: 40 }],
  ['cmsghdr', 16, { cmsg_len: 0, cmsg_level: 8, cmsg_type: 12 }],
  ['pollfd', 8, { fd: 0, events: 4, revents: 6 }],
  ['sock_fprog', 16, { len: 0, filter: 8 }],
  ['sock_filter', 8, { code: 0, jt: 2, jf: 3, k: 4 }],
  ['itimerval', 32, { it_interval: 0, it_value: 16 }],
  ['rlimit', 16, { rlim_cur: 0, rlim_max: 8 }],
  ['user_cap_header', 8, { version: 0, pid: 4 }],
  ['user_cap_data', 12, { effective: 0, permitted: 4, inheritable: 8 }],
  ['rusage', 144, { ru_utime: 0, ru_stime: 16, ru_maxrss: 32, ru_inblock: 88, ru_oublock: 96 }],
  ['statx', 152, { stx_nlink: 16, stx_uid: 20, stx_gid: 24, stx_mode: 28, stx_ino: 32, stx_size: 40, stx_blocks: 48, stx_atime: 64, stx_ctime: 96, stx_mtime: 112, stx_rdev_major: 128, stx_dev_major: 136, stx_mnt_id: 144 }],
])('struct %s', (name, size, offsets) => {
  expect(koffi.sizeof(structs[name])).toBe(size);
  for (const [field, offset] of Object.entries(offsets)) expect([field, koffi.offsetof(structs[name], field)]).toEqual([field, offset]);
});

test('a rusage that the kernel filled reads the same both ways', () => {
  const { bytes, address } = allocate(144);
  check('getrusage', syscall(SYS.getrusage, 0, address));
  const decoded = koffi.decode(bytes, structs.rusage) as {
    ru_maxrss: number;
    ru_utime: { tv_sec: number; tv_usec: number };
  };
  expect(Number(decoded.ru_maxrss)).toBe(Number(bytes.readBigInt64LE(32)));
  expect(Number(decoded.ru_maxrss)).toBeGreaterThan(1000);
  expect(Number(decoded.ru_utime.tv_usec)).toBe(Number(bytes.readBigInt64LE(8)));
});

test('what statAt reads is what Node reads', () => {
  const directory = mkdtempSync(join(tmpdir(), 'statx-'));
  try {
    const file = join(directory, 'file');
    writeFileSync(file, 'x'.repeat(10_000), { mode: 0o640 });
    using at = open(directory, O.PATH | O.DIRECTORY);
    const times = { atimeSec: 1_000_000_000, atimeNsec: 250_000_000, mtimeSec: -2, mtimeNsec: 500_000_000 };
    check('utimensat', utimesAt(at.fd, 'file', times));
    const node = statSync(file, { bigint: true });
    const ours = statAt(at.fd, 'file')!;
    expect(ours).toMatchObject({
      mode: Number(node.mode),
      nlink: 1,
      uid: Number(node.uid),
      gid: Number(node.gid),
      ino: node.ino,
      size: 10_000,
      blocks: Number(node.blocks),
      ...times,
    });
    expect([node.atimeNs, node.mtimeNs]).toEqual([1_000_000_000_250_000_000n, -1_500_000_000n]);
    expect(ours.ctimeSec).toBe(Number(node.ctimeNs / 1_000_000_000n));
    expect(ours.mode & S.IFMT).toBe(S.IFREG);
    expect(statAt(at.fd, 'missing')).toBeUndefined();
    expect(readDirectory(open(directory, O.RDONLY | O.DIRECTORY).fd)).toEqual([{ name: 'file', type: S.IFREG >> 12 }]);
  } finally {
    rmSync(directory, { recursive: true });
  }
  using zero = open('/dev/zero', O.PATH);
  expect(statFd(zero.fd)).toMatchObject({ rdevMajor: 1, rdevMinor: 5 });
});

test('a timespec given to the kernel is slept', () => {
  const request = BigInt64Array.of(0n, 30_000_000n);
  expect(koffi.sizeof(timespec)).toBe(request.byteLength);
  const began = performance.now();
  expect(syscall(SYS.nanosleep, addressOf(request), 0)).toBe(0);
  expect(performance.now() - began).toBeGreaterThanOrEqual(29);
});
