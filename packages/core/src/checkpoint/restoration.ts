import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Launched, openStage, type StandardStreams, type Step } from '@ns/launch';
import { O, type OwnedFd, open, pidfdOpen, pipe, ResourceStack } from '@ns/libc';
import { createMount } from '@ns/mounts';
import { NetNamespace } from '@ns/netns';
import type { FirstFiles } from '../container-overlays.ts';
import type { Host } from '../host.ts';
import type { ContainerDesign } from '../plan/container-plan.ts';
import { resolveRoot } from '../rootfs.ts';
import type { ContainerSpec } from '../types.ts';
import { type Checkpoint, places, readCheckpoint } from './checkpoint-directory.ts';
import { CheckpointError } from './checkpoint-error.ts';
import type { Criu } from './criu.ts';
import { logOf } from './dump.ts';
import { restorePlan } from './restore-plan.ts';

/** A checkpoint that a container begins with, and what CRIU is handed for it. */
export class Restoration implements Disposable {
  readonly checkpoint: Checkpoint;
  readonly criu: Criu;
  readonly #directory: string;
  readonly #held = new ResourceStack();
  readonly #network: NetNamespace;
  /** A file system of its own for CRIU's log: it vanishes with who looks at it. */
  readonly #work: OwnedFd;

  private constructor(criu: Criu, directory: string, checkpoint: Checkpoint, network: NetNamespace) {
    this.criu = criu;
    this.checkpoint = checkpoint;
    this.#directory = directory;
    this.#network = network;
    this.#held.defer(() => network.close());
    this.#work = this.#held.use(createMount({ type: 'tmpfs', options: ['mode=700', 'nosuid', 'nodev'] }));
  }

  /** @throws NsError `ERR_NS_CHECKPOINT_NOT_FOUND` */
  static async open(criu: Criu, directory: string): Promise<Restoration> {
    const checkpoint = readCheckpoint(directory);
    return new Restoration(criu, directory, checkpoint, await NetNamespace.create());
  }

  /** Of the container it was. What was its input then has been read; a pipe is one again. */
  get spec(): ContainerSpec {
    const { spec, stdin } = this.checkpoint;
    return { ...spec, ...(stdin && { stdin: 'pipe' as const }) };
  }

  /** Its upper layers. */
  get files(): FirstFiles[] {
    const { files } = places(this.#directory);
    const readonly = resolveRoot(this.spec).writable === 'none';
    return this.checkpoint.layers.map((scratchName) => ({
      upper: join(files, `${scratchName}.upper`),
      scratchName,
      readonly,
      inside: undefined,
      idMaps: undefined,
    }));
  }

  /**
   * Descriptors for the launch, in the order of `criuFds`.
   *
   * @param owner - closes them
   */
  inherit({ inherited }: StandardStreams, owner: ResourceStack): { extraFds: number[]; named: Record<string, number> } {
    const { read, write } = pipe();
    owner.use(read);
    owner.use(write);
    const images = owner.use(open(places(this.#directory).images, O.RDONLY | O.DIRECTORY));
    return {
      extraFds: [images.fd, this.#work.fd, this.#network.fd, write.fd, owner.use(openStage()).fd, ...inherited],
      named: this.checkpoint.init ? { ending: read.fd } : {},
    };
  }

  /** What the launch does. */
  plan(design: ContainerDesign, host: Host): readonly Step[] {
    return restorePlan(design, host, this.criu, this.checkpoint);
  }

  /**
   * Waits for CRIU, and makes of the process that it restored the first of the launch.
   *
   * @throws CheckpointError `ERR_NS_RESTORE_FAILED`
   */
  async settle(launched: Launched): Promise<void> {
    try {
      await launched.ready;
      const { pid, pidfd, pidThere } = findRestored(launched.pid!);
      launched.restored({ pid, pidfd }, pidThere);
    } catch (cause) {
      const log = logOf(join(this.#work.procPath, 'restore.log'), '');
      throw new CheckpointError('ERR_NS_RESTORE_FAILED', 'the container could not be restored', log, cause);
    }
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}

/** The one child of a restorer. It is not reaped before its pid was told. */
function findRestored(restorer: number): { pid: number; pidfd: OwnedFd; pidThere: number } {
  const pid = Number(readFileSync(`/proc/${restorer}/task/${restorer}/children`, 'utf8').trim());
  const pidfd = pidfdOpen(pid);
  // From the caller's namespace inwards: of the container itself, the last, it is pid 1.
  const pids = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!.split(/\s+/);
  return { pid, pidfd, pidThere: Number(pids.at(-2)) };
}
