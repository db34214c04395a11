import { AT_EMPTY_PATH, AT_FDCWD, MAGIC, O, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '@ns/libc';
import type { Lowering, Lowerings } from '../lowering.ts';
import { type CallOptions, Label, Slot } from '../program.ts';
import { sendRecord } from '../send-record.ts';
import { attachTo } from './attach.ts';

// <asm-generic/ioctls.h>
export const TIOCSCTTY = 0x540e;
const [TIOCSWINSZ, TIOCSPTLCK, TIOCGPTPEER] = [0x5414, 0x40045431, 0x5441] as const;
const PTMX = { major: 5, minor: 2 }; // Documentation/admin-guide/devices.txt
const STX_RDEV_MAJOR = 128; // struct statx of <linux/stat.h>; the minor number follows

/** Steps that say what the standard streams of a program are. */
export type StandardStreamStep =
  /** Standard streams read from and written to the container's own /dev/null. */
  | { readonly op: 'stdioNull'; readonly fds: readonly number[] }
  /**
   * A pseudoterminal of the container's own devpts as controlling terminal and standard streams; the caller gets the
   * other side. Only the leader of a session may. With `goOnInside` it is that of the process which goes on. With `orNode` it
   * may be of a devpts that nobody but root may ask for one (`ptmxmode=000`), as a host's: by the device node beside it. With
   * `console` it is mounted on /dev/console, too.
   */
  | {
      readonly op: 'terminal';
      readonly rows: number;
      readonly columns: number;
      readonly uid: number;
      readonly goOnInside?: boolean;
      readonly orNode?: boolean;
      readonly console?: boolean;
    }
  /** Give the pipes of the standard streams to the payload's user, who may then open /dev/stdout. */
  | { readonly op: 'stdioOwner'; readonly fds: readonly number[]; readonly uid: number; readonly gid: number };

export const standardStreamLowerings: Lowerings<StandardStreamStep> = {
  stdioNull({ fds }, { asm }) {
    const file = asm.slot();
    asm.call('openat', [AT_FDCWD, asm.string('/dev/null'), O.RDWR | O.CLOEXEC | O.NOFOLLOW], { store: file });
    for (const fd of fds) asm.call('dup3', [file, fd, 0]);
    asm.call('close', [file]);
  },

  terminal({ rows, columns, uid, goOnInside, orNode, console }, to) {
    const { asm } = to;
    const [master, peer] = [asm.slot(), asm.slot()];
    const [refused, opened, foreign, genuine] = [new Label(), new Label(), new Label(), new Label()];
    const fileSystem = asm.bytes(120); // struct statfs, f_type first
    const file = asm.bytes(256); // struct statx
    const open = (path: string, options: CallOptions = {}) =>
      asm.call('openat', [AT_FDCWD, asm.string(path), O.RDWR | O.NOCTTY | O.NOFOLLOW | O.CLOEXEC], {
        store: master,
        ...options,
      });
    open('/dev/pts/ptmx', orNode ? { tolerate: ['EACCES'], otherwise: refused } : {});
    // A container could have put another file there for an exec to open (CVE-2025-52565).
    asm.call('fstatfs', [master, fileSystem]);
    asm.jumpIfUnequal(new Slot(fileSystem), MAGIC.DEVPTS, foreign);
    asm.jump(opened);
    asm.place(refused);
    if (orNode) open('/dev/ptmx');
    asm.place(opened);
    asm.call('statx', [master, asm.string(''), AT_EMPTY_PATH, 0, file]);
    asm.jumpIfUnequal(new Slot(file + STX_RDEV_MAJOR), PTMX.major, foreign, 0xffff_ffff);
    asm.jumpIfEqual(new Slot(file + STX_RDEV_MAJOR + 4), PTMX.minor, genuine, 0xffff_ffff);
    asm.place(foreign);
    asm.fail('ENOTTY');
    asm.place(genuine);
    asm.call('ioctl', [master, TIOCSPTLCK, asm.bytes(4)]);
    // Never by the name /dev/pts/N, which somebody may have swapped.
    asm.call('ioctl', [master, TIOCGPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC], { store: peer });
    asm.call('ioctl', [peer, TIOCSWINSZ, asm.bytes(Buffer.from(Uint16Array.of(rows, columns, 0, 0).buffer))]);
    if (uid !== 0) asm.call('fchown', [peer, uid, -1]);
    if (console) mountConsole(to, peer);
    if (!goOnInside) asm.call('ioctl', [peer, TIOCSCTTY, 0]);
    for (const fd of [0, 1, 2]) asm.call('dup3', [peer, fd, 0]);
    sendRecord(to, { kind: 'terminal' }, master);
    asm.call('close', [master]);
    asm.call('close', [peer]);
  },

  stdioOwner({ fds, uid, gid }, { asm }) {
    // EPERM, EROFS: a descriptor of the caller's that belongs to somebody else stays his.
    for (const fd of fds) asm.call('fchown', [fd, uid, gid], { tolerate: ['EPERM', 'EROFS'] });
  },
};

/** By descriptors alone: a name may mean another file a moment later (CVE-2025-52565). */
function mountConsole(to: Lowering, terminal: Slot): void {
  const { asm } = to;
  const [place, mount] = [asm.slot(), asm.slot()];
  asm.call('openat', [AT_FDCWD, asm.string('/dev/console'), O.PATH | O.NOFOLLOW | O.CLOEXEC], { store: place });
  asm.call('open_tree', [terminal, asm.string(''), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH], {
    store: mount,
  });
  attachTo(to, mount, place);
  for (const fd of [place, mount]) asm.call('close', [fd]);
}
