import { __WALL, AT_FDCWD, O, SIG_SETMASK } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import { Label, type Slot } from '../program.ts';
import { SIGNALS } from '../signals.ts';
import type { Pipe } from './pipe.ts';

/** One range of a user namespace's id map. */
export interface IdRange {
  readonly container: number;
  readonly host: number;
  readonly size: number;
}

/** Id maps of a new user namespace: user_namespaces(7). */
export interface IdMaps {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
  /** Without it an ordinary user may not map a gid (CVE-2014-8989). */
  readonly denySetgroups: boolean;
  /** Files of cgroups that the child is put into meanwhile: as a user of its new namespace it may not open them. */
  readonly cgroupProcs?: readonly string[];
  /** Paths of newuidmap(1) and newgidmap(1), for ranges that an ordinary user was granted. Default: written directly. */
  readonly helpers?: { readonly uids: string; readonly gids: string };
}

/** Maps are written from outside, by a process whose privileges count, or by helpers that are set-user-ID. */
export function writeIdMaps(to: Lowering, pid: Slot, maps: IdMaps, mapped: Pipe): void {
  const { asm } = to;
  const { uids, gids, denySetgroups, helpers, cgroupProcs = [] } = maps;
  const name = asm.bytes(24);
  asm.decimal(name, pid);
  for (const procs of cgroupProcs) {
    const fd = asm.slot();
    asm.call('openat', [AT_FDCWD, asm.string(procs), O.WRONLY | O.CLOEXEC | O.NOFOLLOW], { store: fd });
    asm.call('write', [fd, name, 24]);
    asm.call('close', [fd]);
  }
  if (helpers) {
    runIdMapHelper(to, helpers.uids, name, uids);
    runIdMapHelper(to, helpers.gids, name, gids);
  } else {
    const [proc, directory] = [asm.slot(), asm.slot()];
    const directoryFlags = O.PATH | O.DIRECTORY | O.CLOEXEC;
    asm.call('openat', [AT_FDCWD, asm.string('/proc'), directoryFlags], { store: proc });
    asm.call('openat', [proc, name, directoryFlags], { store: directory });
    const write = (file: string, content: string) => {
      const fd = asm.slot();
      asm.call('openat', [directory, asm.string(file), O.WRONLY | O.CLOEXEC], { store: fd });
      asm.call('write', [fd, asm.string(content), content.length]);
      asm.call('close', [fd]);
    };
    const text = (ranges: readonly IdRange[]) =>
      ranges.map(({ container, host, size }) => `${container} ${host} ${size}\n`).join('');
    // Before gid_map, after which it is too late.
    if (denySetgroups) write('setgroups', 'deny');
    write('uid_map', text(uids));
    write('gid_map', text(gids));
  }
  asm.call('write', [mapped.write, asm.string('.'), 1]);
}

/** Runs `newuidmap PID container host size …` to its end. */
function runIdMapHelper({ asm }: Lowering, path: string, pid: number, ranges: readonly IdRange[]): void {
  const [helper, status] = [asm.slot(), asm.slot()];
  const [program, again, ended, succeeded] = [new Label(), new Label(), new Label(), new Label()];
  const numbers = ranges.flatMap(({ container, host, size }) => [container, host, size]);
  const argv = asm.words([asm.string(path), pid, ...numbers.map((number) => asm.string(String(number))), 0]);
  // struct clone_args with nothing but the signal that tells of the end
  asm.call('clone3', [asm.words([0, 0, 0, 0, SIGNALS.SIGCHLD, 0, 0, 0, 0, 0, 0]), 88], { store: helper });
  asm.jumpIfEqual(helper, 0, program);
  asm.place(again);
  asm.call('wait4', [helper, status.address, __WALL, 0], { tolerate: ['EINTR'], otherwise: again });
  asm.jump(ended);

  asm.place(program);
  asm.call('rt_sigprocmask', [SIG_SETMASK, asm.bytes(8), 0, 8]);
  asm.call('execve', [asm.string(path), argv, asm.words([0])]);

  asm.place(ended);
  asm.jumpIfEqual(status, 0, succeeded, 0xffff);
  asm.fail('EPERM');
  asm.place(succeeded);
}

export function waitForIdMaps(to: Lowering, mapped: Pipe, maps: IdMaps): void {
  const { asm } = to;
  const [again, go] = [new Label(), new Label()];
  const received = asm.slot();
  asm.call('close', [mapped.write]);
  asm.place(again);
  asm.call('read', [mapped.read, asm.bytes(8), 1], { store: received, tolerate: ['EINTR'], otherwise: again });
  asm.jumpIfUnequal(received, 0, go);
  asm.call('exit_group', [125]);
  asm.place(go);
  asm.call('close', [mapped.read]);
  becomeMappedRoot(to, maps);
}

/** Ids of the user namespace: until now we were its overflow user. One that only maps the ids of mounts may have no root. */
export function becomeMappedRoot({ asm }: Lowering, { uids, gids }: IdMaps): void {
  const mapsRoot = (ranges: readonly IdRange[]) => ranges.some(({ container }) => container === 0);
  if (mapsRoot(gids)) asm.call('setresgid', [0, 0, 0]);
  if (mapsRoot(uids)) asm.call('setresuid', [0, 0, 0]);
}
