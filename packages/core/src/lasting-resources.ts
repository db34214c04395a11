import { isDeepStrictEqual } from 'node:util';
import type { IdMaps } from '@ns/launch';
import { AsyncResourceStack, type OwnedFd, SpecError, type SyscallError } from '@ns/libc';
import type { IdLease } from '@ns/namespaces';
import type { Restoration } from './checkpoint/restoration.ts';
import { type FirstFiles, HeldOverlays } from './container-overlays.ts';
import { ContainerRun, type RunContext } from './container-run.ts';
import { ContainerStartError } from './errors.ts';
import { forkScratch } from './fork-scratch.ts';
import { keptWritesOf, type OpenedWrites, type WriteLimit } from './kept-writes.ts';
import { scratchOptions } from './plan/root-steps.ts';
import { openKept } from './resources.ts';
import { resolveRoot } from './rootfs.ts';
import type { RunHandle } from './run-handle.ts';
import type { Scratch } from './scratch.ts';
import { sharesMounts } from './shared-mounts.ts';
import type { ContainerSpec } from './types.ts';
import { holdIds, resolveIdMaps, sharesIds } from './user-namespace.ts';

/** What a first run has of another container. */
export interface Beginning {
  /** Its changes. */
  readonly files?: readonly FirstFiles[];
  /** The checkpoint that its processes are in. */
  readonly restoration?: Restoration;
  /** Nobody wants it any more. */
  readonly unwanted?: AbortSignal;
}

type OfContainer = Pick<RunContext, 'id' | 'logs' | 'maxOutputBytes' | 'terminalSize'>;

/** What a container has from its making to its removal, whatever runs: ids on the host, and where it writes. */
export class LastingResources {
  /** Its own: what it has written belongs to them. */
  #ids: IdLease | undefined;
  /** Where its writes are kept: open when it has ended too, to be looked at. */
  #kept: OpenedWrites | undefined;
  #scratch: Scratch | undefined;
  /** The ids that what is in it belongs to. */
  #mapsOfScratch: IdMaps | undefined;

  async acquire(id: string, spec: ContainerSpec): Promise<void> {
    this.#ids = await holdIds(id, spec);
  }

  /** The ids belong to this process again, not to a monitor that is gone. Those that are shared are taken anew before each run. */
  async retake(spec: ContainerSpec): Promise<void> {
    if (!sharesIds(spec)) await this.#ids?.retake();
  }

  /**
   * Prepares a run that has them.
   *
   * @param last - the run before it
   */
  async prepareRun(
    spec: ContainerSpec,
    context: OfContainer,
    { files = [], ...beginning }: Beginning = {},
    last?: RunHandle,
  ): Promise<ContainerRun> {
    await this.#renewShared(context.id, spec);
    // An image is mounted once at a time, and for the next start anew.
    this.#kept?.[Symbol.dispose]();
    this.#kept = undefined;
    this.#kept = await openKept(spec, this.#ids);
    if (files.length > 0) this.#keepScratch(await forkScratch(spec, this.#ids, files));
    try {
      return await this.#prepare(spec, context, beginning);
    } catch (error) {
      if (!last || !isUsedUp(error)) throw error;
      this.#keepScratch(await this.#copyScratch(spec, last));
      return await this.#prepare(spec, context, beginning);
    }
  }

  async #prepare(
    spec: ContainerSpec,
    context: OfContainer,
    beginning: Pick<Beginning, 'restoration' | 'unwanted'>,
  ): Promise<ContainerRun> {
    const scratch = this.#scratch;
    const takeBack = (fd: OwnedFd) => {
      // With half of its covering layer it would be of no use.
      if (scratch?.covered) this.#keepScratch({ ...scratch, fd });
      else fd.close();
    };
    const own = { scratch, takeBack, ids: this.#ids, kept: this.#kept };
    const run = await ContainerRun.prepare(spec, { ...context, ...beginning, ...own });
    this.#keepScratch(sharesMounts(spec) ? undefined : { fd: await scratchOf(run), covered: true });
    this.#mapsOfScratch = run.design.namespaces.idMaps;
    return run;
  }

  #keepScratch(scratch: Scratch | undefined): void {
    this.#scratch?.fd.close();
    this.#scratch = scratch;
  }

  /** What was written, in a new one: the old one was attached by a start that ended before it could give it back. */
  async #copyScratch(spec: ContainerSpec, last: RunHandle): Promise<Scratch | undefined> {
    using held = this.holdOverlays(last);
    const files = held.overlays.filter(({ inScratch }) => inScratch);
    return files.length > 0 ? forkScratch(spec, this.#ids, files) : undefined;
  }

  /**
   * Whose ids it shares may have others by now.
   *
   * @throws SpecError what it has written belongs to those from before
   */
  async #renewShared(id: string, spec: ContainerSpec): Promise<void> {
    if (!sharesIds(spec)) return;
    await this.#ids?.release();
    this.#ids = undefined;
    if (this.#scratch && !isDeepStrictEqual(resolveIdMaps(spec, undefined), this.#mapsOfScratch))
      throw new SpecError(
        'namespaces.user',
        'a user namespace with the ids that it had before, to which belongs what it has written',
        spec.namespaces?.user,
        'Make it anew; what belongs to the old ids can be copied',
      );
    this.#ids = await holdIds(id, spec);
  }

  /** How what is written is bounded. */
  writeLimit(spec: ContainerSpec): WriteLimit | undefined {
    if (sharesMounts(spec)) return undefined;
    if (this.#kept || keptWritesOf(spec)) return this.#kept?.limit;
    const { size, nr_inodes: inodes } = scratchOptions(resolveRoot(spec));
    return size === undefined
      ? undefined
      : { method: 'tmpfs', sizeBytes: Number(size), ...(inodes !== undefined && { inodes: Number(inodes) }) };
  }

  /** Where the changes of its runs are, until it is disposed of. */
  holdOverlays(run: RunHandle): HeldOverlays {
    return new HeldOverlays(run, { scratch: this.#scratch?.fd, kept: this.#kept });
  }

  /** Idempotent. */
  async release(): Promise<void> {
    await using held = new AsyncResourceStack();
    held.defer(async () => this.#ids?.release());
    held.use(this.#kept);
    held.use(this.#scratch?.fd);
  }
}

/** A mount can be attached once. */
function isUsedUp(error: unknown): boolean {
  return error instanceof ContainerStartError && error.step?.op === 'mountScratch' && error.errnoCode === 'EINVAL';
}

/** What a run that is ready has handed over. Ends it when that could not be received. */
async function scratchOf({ launched, result }: ContainerRun): Promise<OwnedFd> {
  try {
    return await launched.scratch;
  } catch (error) {
    launched.giveUp(error as SyscallError);
    // It says so in words of a container's.
    await result;
    throw error;
  }
}
