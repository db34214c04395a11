import type { Patience } from '../patience.ts';

/** Options of `container.checkpoint`. */
export interface CheckpointOptions extends Patience {
  /** Absolute; empty, or not there yet. */
  readonly directory: string;
  /** Let the container go on. Default false. */
  readonly leaveRunning?: boolean;
  /** With TCP connections inside the container. Default false: one is a reason to fail. */
  readonly tcpEstablished?: boolean;
  /** With file locks that its processes hold. Default false: one is a reason to fail. */
  readonly fileLocks?: boolean;
}

/** Options of `Container.restore`. */
export interface RestoreOptions extends Patience {
  /** That of the checkpoint. */
  readonly directory: string;
  /** Default: the one it had. */
  readonly name?: string;
}
