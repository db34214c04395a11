import { AT_FDCWD, CLONE, F, MAP, MSG, O, POLLIN, PR, PROT, SpecError } from '@ns/libc';
import type { Lowering, Lowerings, Step } from '../lowering.ts';
import { CONTINUATION, Label, Slot } from '../program.ts';
import type { RecordKind } from '../records.ts';
import { sendRecord, writeRecord } from '../send-record.ts';
import { SIGNAL_EXECUTED, SIGNAL_KILL_CHILD, SIGNAL_STOP_CHILD, SIGNALS } from '../signals.ts';
import { awaitCaller } from './await-caller.ts';
import { closeAllButReports } from './close-descriptors.ts';
import { becomeMappedRoot, type IdMaps, waitForIdMaps } from './id-maps.ts';
import { superviseAsInit } from './init.ts';
import type { Leftovers } from './leftovers.ts';
import { superviseAsMonitor } from './monitor.ts';
import type { OutputFiles } from './output-files.ts';
import { newPipe, type Pipe } from './pipe.ts';
import { type NamespaceKind, namespaceFlags } from './process.ts';
import { superviseAsRestorer } from './restorer.ts';
import { TIOCSCTTY } from './standard-streams.ts';
import { openProc, procName } from './write-proc.ts';

/** Steps that start and watch processes. */
export type SupervisionStep =
  /**
   * Start a process that runs `child`, then watch it to its end.
   *
   * A `monitor` stays outside: it reports the child's pid and pidfd, forwards signals, ends it after `timeoutMs`, and
   * reports how it ended. An `init` is pid 1 of the container: it reaps orphans, forwards signals, and ends when its
   * child does; the kernel then ends everything else in the pid namespace. With `adopt` it need not be pid 1: what its child
   * leaves behind becomes its own (PR_SET_CHILD_SUBREAPER), and it ends when nothing is left. The caller, who learns of the
   * child's end by `payloadEnded`, is the one to end the rest.
   *
   * A `restorer` is pid 1 of a pid namespace around that of a container whose child is CRIU: when CRIU has ended well, what
   * it restored is the restorer's child. It then reports `ready`, receives its pid from the caller as 8 bytes, and is to
   * it what a monitor is to its child. When CRIU fails it ends, and all that was made with it.
   */
  | {
      readonly op: 'clone';
      readonly supervisor: 'monitor' | 'init' | 'restorer';
      readonly namespaces: readonly NamespaceKind[];
      readonly child: readonly Step[];
      /** For an `init`: also wait for what the child leaves behind. */
      readonly adopt?: boolean;
      /**
       * For an `init`: tells the caller itself how its child has ended and what was used, when nothing else is left in the
       * container. The caller then need not wait for the monitor.
       */
      readonly tellEnd?: boolean;
      /**
       * For an `init`: what it writes into which file of its own in procfs once its child executes, to be under a label itself.
       * The file is opened before, when nobody else can mount anything over it.
       */
      readonly label?: { readonly file: string; readonly label: string };
      /** For a `monitor`: after so long it ends the child. It counts from `Launched.go()` where the child parks. */
      readonly timeoutMs?: number;
      /** Descriptor of a cgroup v2 directory the child is born in (since 5.7). */
      readonly intoCgroup?: string;
      readonly leftovers?: Leftovers;
      /** Descriptor of a file that gets the records of the end too: for whoever asks when the caller is gone. */
      readonly journal?: string;
      /** For a `monitor`: the end of a pipe that it keeps open until it ends: who has the other one hears of that. */
      readonly lifeline?: string;
      /** What the payload writes goes to files, by the monitor's hand. */
      readonly output?: OutputFiles;
      /** Id maps of a new user namespace, written by the monitor. */
      readonly idMaps?: IdMaps;
      /** For a `restorer`: the descriptor from which to read what a restored init says of its program's end. */
      readonly ending?: string;
    }
  /**
   * Tell the caller that everything is prepared and wait for the word to go on; end when the caller is gone. `journal` is the
   * descriptor of a file that gets a record when the word came: the caller may be killed before he says so himself.
   */
  | { readonly op: 'park'; readonly journal?: string }
  /** Tell the caller that everything is prepared, and go on with the steps that it sends; end when the caller is gone. */
  | { readonly op: 'receiveSteps' }
  /**
   * Go on as another process, which the monitor has in the place of this one: it is born in the pid namespace that this one
   * has joined for its children, with what this one has of privileges and descriptors by now. Nobody in there sees a process
   * of the host before. It leads a session, to which its standard input is the terminal with `terminal`.
   */
  | { readonly op: 'goOnInside'; readonly terminal: boolean }
  /**
   * Go on as another process, which the monitor has in the place of this one, born in these new namespaces: for one that has
   * joined others by which it lost what the monitor needs, or that the monitor could not leave again. With new ids (`idMaps`)
   * it is root of its user namespace: of a new one when the monitor has written its maps, else of the one that it has joined.
   */
  | { readonly op: 'goOnIn'; readonly namespaces: readonly NamespaceKind[]; readonly idMaps?: IdMaps }
  /**
   * Give the caller descriptors of this process's namespaces: the only way into them for an ordinary user, to whom
   * /proc/PID/ns of a process that refuses ptrace is closed. `joined` are those by whose descriptors it has entered them, or will.
   */
  | {
      readonly op: 'handOverNamespaces';
      readonly namespaces: readonly NamespaceKind[];
      readonly joined?: readonly { readonly kind: NamespaceKind; readonly fd: string }[];
    }
  /** Tell the caller something. */
  | { readonly op: 'report'; readonly kind: RecordKind };

export const supervisionLowerings: Lowerings<SupervisionStep> = {
  clone(step, to) {
    const { asm } = to;
    const child = new Label();
    const pid = asm.slot();
    const pidfd = asm.slot();
    const goesOn = step.child.find((inner) => inner.op === 'goOnInside' || inner.op === 'goOnIn');
    const mapped = step.idMaps && newPipe(to);
    if (step.child.some(({ op }) => op === 'dieWithParent')) openSelf(to);
    if (step.adopt) asm.call('prctl', [PR.SET_CHILD_SUBREAPER, 1, 0, 0, 0]);

    const monitor = step.supervisor === 'monitor';
    // An init sleeps until its child executes, the child until somebody has written its maps.
    if (step.idMaps && !monitor) throw new SpecError('idMaps', 'id maps under a monitor only', step.supervisor);
    // "Started" shall be a fact, not a hope. The init sleeps until its child has executed the program or failed to; a
    // monitor has signals to forward meanwhile, and is sent one.
    // SELinux relabels nobody whose memory somebody else still has.
    const base = monitor ? CLONE.PIDFD : CLONE.VFORK + (step.label ? 0 : CLONE.VM);
    // Who goes on in the place of the child has the ids.
    const isMappedNow = mapped !== undefined && goesOn === undefined;
    const namespaces = flagsOf([...step.namespaces, ...(isMappedNow ? (['user'] as const) : [])]);
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    const flags = base + namespaces + (step.intoCgroup ? CLONE.INTO_CGROUP : 0);
    const cgroup = step.intoCgroup ? to.fd(step.intoCgroup) : 0;
    const args = asm.words([flags, monitor ? pidfd.address : 0, 0, 0, SIGNALS.SIGCHLD, 0, 0, 0, 0, 0, cgroup]);
    const below = step.child.find((inner) => inner.op === 'clone');
    const witness = monitor && !below ? newWitness(to) : undefined;
    // One that adopts tells the caller himself, at once.
    const ending = monitor && below && !below.adopt ? newPipe(to, O.NONBLOCK) : undefined;
    const succession = monitor && goesOn ? newPipe(to, O.NONBLOCK) : undefined;
    const attribute = step.label && { ...step.label, fd: openProc(to, procName(step.label.file)) };
    if (monitor) asm.call('clone3', [args, 88], { store: pid });
    else asm.vfork('clone3', [args, 88], child, pid);
    if (monitor) asm.jumpIfEqual(pid, 0, child);

    const told = witness ?? ending;
    if (told) asm.call('dup3', [told.read, to.witnessFd, O.CLOEXEC]);
    const stop = below ? SIGNAL_STOP_CHILD : SIGNALS.SIGSTOP;
    // One that adopts stays until the rest has been ended, too.
    const kill = below?.adopt ? SIGNAL_KILL_CHILD : SIGNALS.SIGKILL;
    if (monitor) superviseAsMonitor(to, { pid, pidfd, stop, kill, witness, ending, succession, mapped }, step);
    else if (step.supervisor === 'restorer') superviseAsRestorer(to, pid, step);
    else superviseAsInit(to, { pid, stop, kill, attribute }, step);

    asm.place(child);
    if (told) asm.call('dup3', [told.write, to.witnessFd, O.CLOEXEC]);
    if (succession) asm.call('dup3', [succession.write, to.successionFd, O.CLOEXEC]);
    if (isMappedNow) waitForIdMaps(to, mapped, step.idMaps!);
    to.mapped = mapped;
    to.lowerChild(step.child);
  },

  park({ journal }, to) {
    sendRecord(to, { kind: 'ready' });
    awaitCaller(to, to.asm.bytes(8), 1);
    if (journal !== undefined) writeRecord(to, { kind: 'begun' }, to.fd(journal));
  },

  receiveSteps(_, to) {
    const { asm, statusFd } = to;
    const [received, program, word] = [asm.slot(), asm.slot(), asm.slot()];
    const [again, prepared, wait, go] = [new Label(), new Label(), new Label(), new Label()];
    const { address, size } = CONTINUATION;
    const control = asm.bytes(24); // struct cmsghdr, then the descriptors of a program and of an eventfd
    const header = asm.words([0, 0, asm.words([asm.bytes(8), 1]), 1, control, 24, 0]); // struct msghdr
    sendRecord(to, { kind: 'ready' });
    asm.place(again);
    asm.call('recvmsg', [statusFd, header, MSG.CMSG_CLOEXEC], {
      store: received,
      tolerate: ['EINTR'],
      otherwise: again,
    });
    asm.jumpIfUnequal(received, 0, prepared);
    asm.call('exit_group', [125]);
    asm.place(prepared);
    asm.copy(program.address, control + 16, 4);
    asm.copy(word.address, control + 20, 4);
    // All is in place when the word comes.
    const flags = MAP.SHARED | MAP.FIXED | MAP.POPULATE;
    asm.call('mmap', [address, size, PROT.READ | PROT.WRITE, flags, program, 0]);
    // Two of struct pollfd: the word to go on, and whether the caller is there, of which the kernel tells unasked.
    const polled = asm.words([POLLIN * 2 ** 32, statusFd]);
    asm.copy(polled, word.address, 4);
    asm.place(wait);
    asm.call('ppoll', [polled, 2, 0, 0, 0], { tolerate: ['EINTR'], otherwise: wait });
    asm.jumpIfUnequal(new Slot(polled), 0, go, POLLIN_RETURNED);
    asm.call('exit_group', [125]);
    asm.place(go);
    // Whoever reads it has it: the caller may have taken it back.
    asm.call('read', [word, asm.bytes(8), 8], { tolerate: ['EAGAIN', 'EINTR'], otherwise: wait });
    asm.continue();
  },

  goOnInside({ terminal }, to) {
    const { asm, successionFd } = to;
    const [parent, seen] = [asm.slot(), asm.slot()];
    const alive = new Label();
    // Who may look at the new process from its first instruction on finds no way to the host in it.
    closeAllButReports(to, [successionFd]);
    asm.call('getppid', [], { store: parent });
    goOnAsSuccessor(to);
    asm.call('prctl', [PR.SET_PDEATHSIG, SIGNALS.SIGKILL]);
    // The monitor may have died before: a parent outside the pid namespace is 0, the one that adopts is neither.
    asm.call('getppid', [], { store: seen });
    asm.jumpIfEqual(seen, 0, alive);
    asm.jumpIfEqual(seen, parent, alive);
    asm.call('exit_group', [125]);
    asm.place(alive);
    asm.call('setsid', []);
    if (terminal) asm.call('ioctl', [0, TIOCSCTTY, 0]);
  },

  goOnIn({ namespaces, idMaps }, to) {
    goOnAsSuccessor(to, namespaces);
    if (idMaps && namespaces.includes('user')) waitForIdMaps(to, to.mapped!, idMaps);
    else if (idMaps) becomeMappedRoot(to, idMaps);
  },

  handOverNamespaces({ namespaces, joined = [] }, to) {
    const { asm } = to;
    const handOver = (kind: NamespaceKind, fd: Slot) =>
      sendRecord(to, { kind: 'namespace', value: asm.slot(namespaceFlags[kind]) }, fd);
    for (const kind of namespaces) {
      const fd = asm.slot();
      asm.call('openat', [AT_FDCWD, asm.string(`/proc/self/ns/${kind}`), O.RDONLY | O.CLOEXEC], { store: fd });
      handOver(kind, fd);
      asm.call('close', [fd]);
    }
    for (const { kind, fd } of joined) handOver(kind, asm.slot(to.fd(fd)));
  },

  report({ kind }, to) {
    sendRecord(to, { kind });
  },
};

/** From here on it is a process that the monitor has in the place of the one that came here. */
function goOnAsSuccessor({ asm, successionFd }: Lowering, namespaces: readonly NamespaceKind[] = []): void {
  const pid = asm.slot();
  const successor = new Label();
  // struct clone_args: the signal of its end is that of the process in whose place it is
  asm.call('clone3', [asm.words([CLONE.PARENT + flagsOf(namespaces), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 88], {
    store: pid,
  });
  asm.jumpIfEqual(pid, 0, successor);
  asm.call('write', [successionFd, pid.address, 8]);
  asm.call('exit_group', [0]);
  asm.place(successor);
  asm.call('close', [successionFd]);
}

function flagsOf(namespaces: readonly NamespaceKind[]): number {
  return namespaces.reduce((flags, kind) => flags + namespaceFlags[kind], 0);
}

/** A pidfd of this process, by which its child learns whether it is still there. */
function openSelf(to: Lowering): void {
  const { asm } = to;
  const self = asm.slot();
  asm.call('getpid', [], { store: self });
  asm.call('pidfd_open', [self, 0], { store: to.handle('supervisor') });
}

/** A pipe whose writing end the child keeps until execve closes it, upon which the kernel signals this process: fcntl(2), F_SETSIG. */
function newWitness(to: Lowering): Pipe {
  const { asm } = to;
  const pipe = newPipe(to);
  const self = asm.slot();
  asm.call('getpid', [], { store: self });
  asm.call('fcntl', [pipe.read, F_SETOWN, self]);
  asm.call('fcntl', [pipe.read, F_SETSIG, SIGNAL_EXECUTED]);
  asm.call('fcntl', [pipe.read, F.SETFL, O_ASYNC]);
  return pipe;
}

/** POLLIN in `revents` of a struct pollfd that is read as one word. */
const POLLIN_RETURNED = BigInt(POLLIN) << 48n;
const F_SETOWN = 8; // <fcntl.h>
const F_SETSIG = 10;
const O_ASYNC = 0o20000;
