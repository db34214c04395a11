import type { Cgroup, Stats } from '@ns/cgroups';
import type { Launched, StandardStreams } from '@ns/launch';
import { AsyncResourceStack, ERRNO, NsError, type OwnedFd, ownTurn, rollBack, SyscallError } from '@ns/libc';
import type { IdLease } from '@ns/namespaces';
import { endAttached } from './attached-stream.ts';
import type { Restoration } from './checkpoint/restoration.ts';
import {
  createCommandCgroup,
  createDelegatedCgroup,
  lastStats,
  payloadName,
  readAccounts,
} from './container-cgroup.ts';
import { type CarriedOutPlan, launchContainer } from './container-launch.ts';
import { openStreams } from './container-process.ts';
import { handOver, isDetachable, openJournal } from './detachment.ts';
import { ContainerStartError } from './errors.ts';
import { ExecCgroups } from './exec-cgroups.ts';
import type { OpenedWrites } from './kept-writes.ts';
import type { LogBuffer } from './log-buffer.ts';
import { LogFiles } from './log-files.ts';
import { locateLog } from './log-location.ts';
import { LogWriter } from './log-writer.ts';
import { liveNetworks } from './network/live-networks.ts';
import { UserContainerNetwork } from './network/user-container-network.ts';
import { CapturedOutput } from './output.ts';
import type { ContainerDesign } from './plan/container-plan.ts';
import { acquireResources, type Resources } from './resources.ts';
import type { Result } from './result.ts';
import type { RunHandle } from './run-handle.ts';
import type { Scratch } from './scratch.ts';
import type { TerminalSize } from './terminal-streams.ts';
import type { ContainerSpec } from './types.ts';
import { resolveIdMaps } from './user-namespace.ts';

/** A setup takes milliseconds; on a machine that is busy, or emulated, seconds. */
const SETUP_MS = 120_000;

/** What a run is prepared with. */
export interface RunContext {
  readonly id: string;
  readonly logs: LogBuffer;
  readonly maxOutputBytes: number;
  /** Of its terminal, from the beginning. */
  readonly terminalSize?: TerminalSize | undefined;
  readonly scratch: Scratch | undefined;
  /** It failed: its scratch, to be used again, by the only mount of it that there is now. */
  takeBack(scratch: OwnedFd): void;
  /** These stay the caller's. */
  readonly ids: IdLease | undefined;
  readonly kept: OpenedWrites | undefined;
  readonly restoration?: Restoration | undefined;
  /** It is ended when nobody wants it any more. */
  readonly unwanted?: AbortSignal | undefined;
}

/** One life of a container, from its first process to its last: a restart is another one. */
export class ContainerRun implements RunHandle {
  readonly design: ContainerDesign;
  readonly plan: CarriedOutPlan;
  readonly streams: StandardStreams;
  readonly launched: Launched;
  /** Holds the limits; processes are in its children. An ordinary user may have none. */
  readonly cgroup: Cgroup | undefined;
  readonly execCgroups: ExecCgroups | undefined;
  /** Settles when no process is left. Rejects when the program never ran. */
  readonly result: Promise<Result>;
  /** Why we ended it, when we did. */
  cause: Result['reason'] | undefined;
  readonly ended: Promise<void>;
  readonly #resources: Resources;
  readonly #payload: Cgroup | undefined;
  readonly #held = new AsyncResourceStack();
  #startedAt = performance.now();

  private constructor(
    parts: Pick<ContainerRun, 'design' | 'plan' | 'streams' | 'launched' | 'cgroup' | 'execCgroups'> & {
      payload: Cgroup | undefined;
      resources: Resources;
      output: CapturedOutput;
      collected: Promise<unknown>;
    },
  ) {
    this.design = parts.design;
    this.plan = parts.plan;
    this.streams = parts.streams;
    this.launched = parts.launched;
    this.cgroup = parts.cgroup;
    this.execCgroups = parts.execCgroups;
    this.#payload = parts.payload;
    this.#resources = parts.resources;
    this.result = this.#supervise(parts.output, parts.collected);
    // Somebody may ask later, or never.
    this.ended = this.result.then(
      () => {},
      () => {},
    );
  }

  /**
   * Prepares a container up to the moment before its program; with a restoration, the program goes on where it was.
   *
   * @throws ContainerStartError when a step of the setup fails
   */
  static async prepare(spec: ContainerSpec, context: RunContext): Promise<ContainerRun> {
    const { id, restoration, unwanted } = context;
    using journal = isDetachable(spec) ? openJournal(id) : undefined;
    const run = await ContainerRun.#launch(spec, context, journal);
    const { launched, cgroup, ids } = run;
    const { network } = run.#resources;
    try {
      await (restoration ? restoration.settle(launched) : readyInTime(run, unwanted));
      await unlessEnded(launched, async () => {
        if (network instanceof UserContainerNetwork) await network.connect(launched);
        if (isDetachable(spec)) await handOver(launched.monitorPid, [cgroup, run.#payload], ids);
      });
      return run;
    } catch (error) {
      // What failed may have been ours to do: then it still waits.
      launched.kill();
      await launched.scratch.then(context.takeBack, () => {});
      // The result knows which step it was, if it was one, and frees everything.
      await run.result;
      throw error instanceof SyscallError ? new ContainerStartError(error) : error;
    }
  }

  /** Makes what it needs and starts its processes; when that fails, nothing is left. */
  static async #launch(
    spec: ContainerSpec,
    { id, logs, maxOutputBytes, terminalSize, scratch, restoration, unwanted: _, takeBack: __, ...lent }: RunContext,
    journal: OwnedFd | undefined,
  ): Promise<ContainerRun> {
    const detachable = isDetachable(spec);
    const streams = detachable ? LogFiles.create(locateLog(id, spec)!) : openStreams(spec, terminalSize);
    const made = new AsyncResourceStack();
    made.defer(async () => streams.destroy());
    try {
      const writer = made.use(detachable ? undefined : logWriterFor(id, spec));
      const resources = made.use(await acquireResources(id, spec, lent));
      const { cgroup, ids, kept, mounts, network } = resources;
      const payload = made.use(cgroup && (await payloadCgroup(cgroup, spec, ids)));
      const parts = { id, streams, cgroup: payload, outerCgroup: cgroup, ids, mounts, kept, network, journal };
      const start = launchContainer(spec, { ...parts, park: true, restoration, scratch, keepScratch: true });
      const { onExceed = 'drop-tail' } = spec.maxOutput ?? {};
      const output = new CapturedOutput(maxOutputBytes, onExceed, () => onExceed === 'kill' && run.end('output-limit'));
      keepOutput(streams, logs, writer);
      const collected = Promise.all([output.collect(streams.stdout!, 1), output.collect(streams.stderr!, 2)]);
      const execCgroups = cgroup && new ExecCgroups(cgroup, { keepsSpare: !detachable });
      const run = new ContainerRun({ ...start, streams, cgroup, execCgroups, payload, resources, output, collected });
      return run;
    } catch (error) {
      throw await rollBack(error, () => made[Symbol.asyncDispose]());
    }
  }

  go(): void {
    // What may outlive us does so as soon as its program runs.
    if (!this.design.dieWithParent) this.#resources.outlivesUs();
    this.#startedAt = performance.now();
    this.launched.go();
  }

  /** Ends every process for a reason of ours. */
  end(cause: Result['reason']): void {
    this.cause ??= cause;
    this.launched.kill();
  }

  hold(resource: AsyncDisposable): void {
    this.#held.use(resource);
  }

  letGo(): void {
    this.launched.unref();
  }

  /** Host ids that are its alone. */
  get ids(): IdLease | undefined {
    return this.#resources.ids;
  }

  async #supervise(output: CapturedOutput, collected: Promise<unknown>): Promise<Result> {
    const exit = await this.launched.exited;
    endAttached(this.streams);
    // As if we had heard of it that much later: of what it leaves nothing has been looked at yet.
    await ownTurn('clearing up');
    let total: Stats | undefined;
    const { oom, usage } = await readAccounts(exit, this.#payload)
      .finally(async () => {
        total = await this.#release();
      })
      .finally(() => this.streams.drain());
    await collected;
    if (exit.failure && !this.cause) throw new ContainerStartError(exit.failure);
    return {
      exitCode: exit.exitCode,
      signal: exit.signal,
      reason: this.cause ?? (exit.timedOut ? 'timeout' : oom ? 'oom' : exit.signal ? 'signal' : 'exit'),
      stdout: output.text(1),
      stderr: output.text(2),
      truncated: output.truncated || exit.outputLost,
      durationMs: performance.now() - this.#startedAt,
      usage: {
        ...usage,
        memoryPeakBytes: total?.memory?.peakBytes ?? usage.memoryPeakBytes,
        pidsPeak: total?.pids?.peak,
      },
      warnings: this.design.warnings,
    };
  }

  /** No process is left: gives back all that was held for them. Returns what the cgroup has counted. */
  async #release(): Promise<Stats | undefined> {
    await using held = new AsyncResourceStack();
    held.use(this.#resources);
    // Made without a network, it may have been connected to one while it ran.
    held.defer(async () => liveNetworks.get(this.design.id)?.[Symbol.asyncDispose]());
    held.use(this.#held);
    held.use(this.execCgroups);
    await this.#payload?.[Symbol.asyncDispose]();
    return await lastStats(this.cgroup);
  }
}

/**
 * Settles when it is prepared. Whoever shares its pid and user namespace can stop it at that for ever (SIGSTOP): it is ended then.
 *
 * @throws what `unwanted` was aborted with
 */
async function readyInTime(run: ContainerRun, unwanted?: AbortSignal): Promise<void> {
  let reason: unknown;
  const giveUp = (why: unknown) => {
    reason ??= why;
    // Whatever step fails by that is not the reason.
    run.end('signal');
  };
  const onAbort = () => giveUp(unwanted?.reason);
  const hint = 'Likely its processes are stopped by others who share its namespaces, or a file system does not answer';
  const late = new NsError('ERR_NS_TIMEOUT', `the setup took more than ${SETUP_MS} ms`, { hint });
  const timer = setTimeout(giveUp, SETUP_MS, late);
  unwanted?.addEventListener('abort', onAbort, { once: true });
  try {
    if (unwanted?.aborted) onAbort();
    await run.launched.ready;
  } catch (error) {
    throw reason ?? error;
  } finally {
    clearTimeout(timer);
    unwanted?.removeEventListener('abort', onAbort);
  }
}

/** Does something for a container that waits. When somebody ends it meanwhile, it is that which is wrong. */
async function unlessEnded(launched: Launched, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (cause) {
    if (launched.alive) throw cause;
    throw new SyscallError('wait4', ERRNO.ECHILD, { doing: 'process ended during its setup', cause });
  }
}

/** Where output goes besides those who ask for it, when no monitor does that. */
function logWriterFor(id: string, spec: ContainerSpec): LogWriter | undefined {
  const location = locateLog(id, spec);
  return location && new LogWriter(location);
}

/** Output goes to who asks for it, and to files. */
function keepOutput(streams: StandardStreams, logs: LogBuffer, writer: LogWriter | undefined): void {
  let open = 2;
  let isLosing = false;
  for (const [stream, source] of [
    ['stdout', streams.stdout!],
    ['stderr', streams.stderr!],
  ] as const) {
    source.on('data', (data: Buffer) => {
      const time = new Date();
      try {
        writer?.write({ stream, time, data });
        isLosing = false;
      } catch (error) {
        // A full disk must not stop the container; and it may have room again.
        const what = 'output of a container could not be written to its log, in which it is missing';
        if (!isLosing) process.emitWarning(`${what}: ${String(error)}`, { code: 'NS_LOG_FILE' });
        isLosing = true;
      }
      logs.add(stream, data, time);
    });
    source.on('close', () => {
      if (--open === 0) writer?.[Symbol.dispose]();
    });
  }
}

/** The one the first process is in. */
function payloadCgroup(cgroup: Cgroup, spec: ContainerSpec, ids: IdLease | undefined): Promise<Cgroup> {
  if (spec.cgroupAccess !== 'delegated') return createCommandCgroup(cgroup, payloadName, spec);
  const root = resolveIdMaps(spec, ids)?.uids.find(({ container }) => container === 0);
  return createDelegatedCgroup(cgroup, root?.host ?? 0);
}
