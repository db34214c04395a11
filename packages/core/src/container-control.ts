import { SIGNALS } from '@ns/launch';
import { hasCode, ownTurn } from '@ns/libc';
import type { ContainerLife } from './container-life.ts';
import { cgroupOf, processIds, signalProcess } from './container-processes.ts';
import type { RunHandle } from './run-handle.ts';

/*
 * How a container is started, held still and ended. Each call is carried through, whoever waits for it, in the order of the
 * calls; those that end it for good, kill and remove, wait for none.
 */

/** How a container is stopped. */
export interface StopOptions {
  /** Milliseconds until it is ended by SIGKILL. Default 10 000. */
  readonly timeout?: number;
  /** Default: `stopSignal` of its specification, `'SIGTERM'`. */
  readonly signal?: NodeJS.Signals;
}

/** Settles when it runs, or is ready. */
export async function startContainer(life: ContainerLife): Promise<void> {
  await untilReady(life, await life.inOrder(() => begin(life)));
}

/** A run, and from when on what is written is its output. */
interface BegunRun {
  readonly run: RunHandle;
  readonly startedAt: number;
}

async function begin(life: ContainerLife): Promise<BegunRun> {
  // One that was asked to end is not there any more when it is started again.
  await life.requestedEnd.settled;
  await life.supervision.holdBack();
  await life.begin();
  return { run: life.run!, startedAt: life.begunAt };
}

async function untilReady(life: ContainerLife, { run, startedAt }: BegunRun): Promise<void> {
  const { launched, result } = run;
  const done = life.lookOn(run);
  try {
    await life.supervision.ready({ pid: launched.pid!, logs: life.logs, startedAt, ended: result });
  } finally {
    done();
    life.stayLetGo();
  }
}

/** Settles when the signal is sent; after SIGKILL, when nothing is left. */
export async function killContainer(
  life: ContainerLife,
  signal: NodeJS.Signals,
  { all = false }: { readonly all?: boolean },
): Promise<void> {
  await life.catchUp();
  // Also of one that has ended: its restart may be due.
  const wasDue = signal === 'SIGKILL' && (await life.holdBack());
  if (wasDue && !life.isAlive) return;
  // A restart that was under way has made another one.
  const run = life.alive('kill it');
  if (all && signal !== 'SIGKILL') {
    for (const pid of await processIds(run)) signalProcess(pid, SIGNALS[signal]);
  } else run.launched.signal(signal);
  if (signal === 'SIGKILL') await life.end(run);
}

/** Settles when nothing is left. */
export async function stopContainer(life: ContainerLife, options: StopOptions): Promise<void> {
  const comes = life.requestedEnd.expect(patienceOf(options));
  await life.inOrder(() => askToEnd(life, options, comes));
  await life.requestedEnd.settled;
}

/**
 * Settles when it is asked to end; `life.requestedEnd` when nothing is left.
 *
 * @param comes - is called when nothing goes before that
 */
async function askToEnd(life: ContainerLife, options: StopOptions, comes: () => void): Promise<void> {
  await life.holdBack().finally(comes);
  await life.catchUp();
  // Held still it would not hear of it.
  if (life.status === 'paused') await resume(life);
  if (!life.isAlive) return;
  const run = life.run!;
  if (life.status === 'created') run.launched.kill();
  else run.launched.signal(options.signal ?? life.spec.stopSignal ?? 'SIGTERM');
  life.requestedEnd.isAsked(run, patienceOf(options));
}

function patienceOf({ timeout = 10_000 }: StopOptions): number {
  return timeout;
}

/** Settles when it runs again, or is ready. */
export async function restartContainer(life: ContainerLife, options: StopOptions): Promise<void> {
  life.assertOurs('restart it');
  const comes = life.requestedEnd.expect(patienceOf(options));
  const run = await life.inOrder(async () => {
    await askToEnd(life, options, comes);
    await life.requestedEnd.settled;
    await ownTurn('making');
    return begin(life);
  });
  await untilReady(life, run);
}

/** Settles when every process is held still. */
export function pauseContainer(life: ContainerLife): Promise<void> {
  return life.inOrder(async () => {
    if (life.status === 'paused') return;
    life.running('pause it');
    life.supervision.pausing();
    await life.during('pause it', (run) => cgroupOf(run, 'pausing a container').freeze());
    life.setStatus('paused');
    life.events.emit({ type: 'pause' });
  });
}

/** Settles when they go on. */
export function resumeContainer(life: ContainerLife): Promise<void> {
  return life.inOrder(() => resume(life));
}

async function resume(life: ContainerLife): Promise<void> {
  if (life.status !== 'paused') return;
  await life.during('resume it', (run) => cgroupOf(run, 'resuming a container').thaw());
  life.setStatus('running');
  life.events.emit({ type: 'resume' });
}

/** Who removes makes room. */
function unlessFull(error: unknown): void {
  if (!hasCode(error, 'ENOSPC', 'EDQUOT')) throw error;
}

/** Settles when there is no such container. */
export async function removeContainer(life: ContainerLife, { force }: { readonly force: boolean }): Promise<void> {
  if (life.status === 'removed') return life.forget();
  if (life.isAlive && life.status !== 'created' && !force)
    throw life.refuse('ERR_NS_CONTAINER_RUNNING', 'remove it', 'Stop it first, or remove({ force: true })');
  const isGone = life.requestedEnd.expect(0);
  try {
    await life.holdBack().catch(unlessFull);
    await life.remove();
  } finally {
    isGone();
  }
}
