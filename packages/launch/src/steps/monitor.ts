import { __WALL, ITIMER_REAL, WNOHANG } from '@ns/libc';
import type { Lowering, Step } from '../lowering.ts';
import { Label, Slot } from '../program.ts';
import { sendRecord, writeRecord } from '../send-record.ts';
import { SIGNAL_EXECUTED, SIGNAL_KILL_CHILD, SIGNAL_PARENT_DIED, SIGNAL_TIME_BEGINS, SIGNALS } from '../signals.ts';
import { closeAllBut } from './close-descriptors.ts';
import { writeIdMaps } from './id-maps.ts';
import { killSurvivors, removeLeftovers } from './leftovers.ts';
import { OutputRelay } from './output-files.ts';
import type { Pipe } from './pipe.ts';
import type { SupervisionStep } from './supervision.ts';
import { type Child, forwardSignal, readEnding, waitForSignal } from './watched-child.ts';

/** Waits for signals and the child's end, outside the container. */
export function superviseAsMonitor(
  to: Lowering,
  {
    pid,
    pidfd,
    stop,
    kill,
    witness,
    ending,
    succession,
    mapped,
  }: Child & { pidfd: Slot } & Readonly<Record<'witness' | 'ending' | 'succession' | 'mapped', Pipe | undefined>>,
  step: Extract<SupervisionStep, { op: 'clone' }>,
): void {
  const { timeoutMs, leftovers, journal, lifeline, output } = step;
  const { asm } = to;
  const status = asm.bytes(8);
  const usage = asm.bytes(144);
  const orphaned = asm.slot();
  const [next, reap, ended] = [new Label(), new Label(), new Label()];
  if (timeoutMs !== undefined && !isTimedFromGo(step)) startTimer(to, timeoutMs);
  if (succession)
    awaitSuccessor(to, { pid, pidfd, kill, succession, status, usage, orphaned, timeoutMs, journal, ended });
  if (mapped) writeIdMaps(to, pid, step.idMaps!, mapped);
  sendRecord(to, { kind: 'started', value: pid }, pidfd);
  closeAllBut(to, [
    to.statusFd,
    ...(journal === undefined ? [] : [to.fd(journal)]),
    ...(lifeline === undefined ? [] : [to.fd(lifeline)]),
    ...(witness || ending ? [to.witnessFd] : []),
    ...(output ? OutputRelay.descriptors(to, output) : []),
  ]);
  const relay = output && new OutputRelay(to, output);
  // The successor may have ended, too: two ends are one signal.
  if (succession) asm.jump(reap);
  const signal = relay ? relay.waitForSignal(next) : waitForSignal(to, next);
  asm.jumpIfEqual(signal, SIGNALS.SIGCHLD, reap);
  answerSignal(to, signal, {
    child: { pid, stop, kill },
    timeoutMs,
    journal,
    orphaned,
    hasWitness: witness !== undefined,
    next,
  });

  asm.place(reap);
  const reaped = asm.slot();
  asm.call('wait4', [pid, status, WNOHANG | __WALL, usage], { store: reaped });
  asm.jumpIfEqual(reaped, 0, next);
  asm.place(ended);
  if (leftovers) killSurvivors(to, leftovers);
  // Whoever hears of the end finds everything in the files.
  relay?.drain();
  relay?.ifLost(() => report(to, { kind: 'outputLost' }, journal));
  if (ending) reportPayloadExit(to, journal);
  report(to, { kind: 'exit', value: new Slot(status), usage }, journal);
  const finished = new Label();
  asm.jumpIfEqual(orphaned, 0, finished);
  if (leftovers) removeLeftovers(to, leftovers);
  asm.place(finished);
  asm.call('exit_group', [0]);
}

/**
 * Waits for the process that goes on in the place of the child, and has it as the child from then on. What others send for it
 * waits, too.
 *
 * @param to.ended - where to go on when the child has ended without one
 */
function awaitSuccessor(
  to: Lowering,
  {
    pid,
    pidfd,
    kill,
    succession,
    status,
    usage,
    orphaned,
    timeoutMs,
    journal,
    ended,
  }: {
    pid: Slot;
    pidfd: Slot;
    kill: number;
    succession: Pipe;
    status: number;
    usage: number;
    orphaned: Slot;
    timeoutMs: number | undefined;
    journal: string | undefined;
    ended: Label;
  },
): void {
  const { asm } = to;
  const [reaped, doomed] = [asm.slot(), asm.slot()];
  const [next, reap, spared] = [new Label(), new Label(), new Label()];
  const awaited = [SIGNALS.SIGCHLD, SIGNAL_KILL_CHILD, SIGNAL_PARENT_DIED];
  const signal = waitForSignal(to, next, timeoutMs === undefined ? awaited : [...awaited, SIGNALS.SIGALRM]);
  asm.jumpIfEqual(signal, SIGNALS.SIGCHLD, reap);
  const child = { pid, stop: kill, kill };
  answerSignal(to, signal, { child, timeoutMs, journal, orphaned, doomed, hasWitness: false, next });
  asm.place(reap);
  asm.call('wait4', [pid, status, WNOHANG | __WALL, usage], { store: reaped });
  asm.jumpIfEqual(reaped, 0, next);
  readEnding(to, succession.read, pid, ended);
  asm.call('close', [pidfd]);
  asm.call('pidfd_open', [pid, 0], { store: pidfd });
  // Killed when it had a successor already: that was meant.
  asm.jumpIfEqual(doomed, 0, spared);
  asm.call('kill', [pid, kill], { tolerate: 'any' });
  asm.place(spared);
}

/** What a monitor does at any signal but that of its child's end; then it waits for the next. */
function answerSignal(
  to: Lowering,
  signal: Slot,
  {
    child: { pid, stop, kill },
    timeoutMs,
    journal,
    orphaned,
    doomed,
    hasWitness,
    next,
  }: {
    child: Child;
    timeoutMs: number | undefined;
    journal: string | undefined;
    /** Set when the parent has died. */
    orphaned: Slot;
    /** Set when the child has been killed. */
    doomed?: Slot;
    hasWitness: boolean;
    next: Label;
  },
): void {
  const { asm } = to;
  const hasExecuted = asm.slot();
  const [notOrphaned, forward, killed, executed] = [new Label(), new Label(), new Label(), new Label()];
  asm.jumpIfEqual(signal, SIGNAL_KILL_CHILD, killed);
  asm.jumpIfEqual(signal, SIGNAL_EXECUTED, executed);
  asm.jumpIfUnequal(signal, SIGNAL_PARENT_DIED, notOrphaned);
  asm.copy(orphaned.address, asm.words([1]), 8);
  if (doomed) asm.set(doomed, 1);
  // Nobody is left to end what an adopting child waits for.
  asm.call('kill', [pid, SIGNALS.SIGKILL], { tolerate: 'any' });
  asm.jump(next);
  asm.place(notOrphaned);
  if (timeoutMs !== undefined) {
    const ended = new Label();
    asm.jumpIfUnequal(signal, SIGNAL_TIME_BEGINS, ended);
    startTimer(to, timeoutMs);
    asm.jump(next);
    asm.place(ended);
    asm.jumpIfUnequal(signal, SIGNALS.SIGALRM, forward);
    jumpUnlessTimeIsUp(to, forward);
    report(to, { kind: 'timeout' }, journal);
    asm.jump(killed);
  }
  asm.place(forward);
  if (hasWitness) {
    // What the kernel sends in its place when there are too many signals of the user in queues (RLIMIT_SIGPENDING), for which
    // any container of his is good.
    const meant = new Label();
    asm.jumpIfUnequal(signal, SIGNALS.SIGIO, meant);
    asm.jumpIfEqual(hasExecuted, 0, executed);
    asm.place(meant);
  }
  forwardSignal(to, signal, { pid, stop, kill });
  asm.jump(next);

  asm.place(executed);
  asm.set(hasExecuted, 1);
  sendRecord(to, { kind: 'executing', value: pid });
  asm.jump(next);

  asm.place(killed);
  if (doomed) asm.set(doomed, 1);
  asm.call('kill', [pid, kill], { tolerate: 'any' });
  asm.jump(next);
}

/** How the program has ended, if an init has told. */
function reportPayloadExit(to: Lowering, journal: string | undefined): void {
  const [said, silent] = [to.asm.slot(), new Label()];
  readEnding(to, to.witnessFd, said, silent);
  report(to, { kind: 'payloadExit', value: said }, journal);
  to.asm.place(silent);
}

/** Whether the time is that of a program which somebody has to let go on first: he says when it begins. */
export function isTimedFromGo({ timeoutMs, child }: Extract<SupervisionStep, { op: 'clone' }>): boolean {
  const parks = (steps: readonly Step[]): boolean =>
    steps.some((step) => step.op === 'park' || (step.op === 'clone' && parks(step.child)));
  return timeoutMs !== undefined && parks(child);
}

/** setitimer(2): SIGALRM once, in so many milliseconds. */
function startTimer({ asm }: Lowering, timeoutMs: number): void {
  const microseconds = Math.max(1, Math.round(timeoutMs * 1000));
  // struct itimerval: no interval, then seconds and microseconds.
  asm.call('setitimer', [ITIMER_REAL, asm.words([0, 0, Math.floor(microseconds / 1e6), microseconds % 1e6]), 0]);
}

/** A SIGALRM may also have been meant for the payload: the time is up when nothing is left on the timer. */
function jumpUnlessTimeIsUp({ asm }: Lowering, otherwise: Label): void {
  const timer = asm.bytes(32);
  asm.call('getitimer', [ITIMER_REAL, timer]);
  asm.jumpIfUnequal(new Slot(timer + 16), 0, otherwise);
  asm.jumpIfUnequal(new Slot(timer + 24), 0, otherwise);
}

/** Tells the caller, and the journal when there is one. */
function report(to: Lowering, record: Parameters<typeof sendRecord>[1], journal: string | undefined): void {
  sendRecord(to, record);
  if (journal !== undefined) writeRecord(to, record, to.fd(journal));
}
