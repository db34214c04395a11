import type { Readable } from 'node:stream';
import type { OwnedFd } from '@ns/libc';
import type { ChangeStream } from './change-stream.ts';
import type { TarOptions } from './tar-stream.ts';

/** Names of the drivers of this package. Others (zfs, …) may implement {@link StorageDriver} as well. */
export type StorageDriverName = 'overlay' | 'vfs' | 'btrfs' | 'fuse-overlayfs';

/** A writable root is made of these. */
export interface WritableRootSpec {
  /** Directories in overlayfs's form, topmost first: paths of a {@link LayerStore}, or any read-only trees. */
  readonly layers: readonly string[];
  /** At most this many bytes may be written. */
  readonly sizeBytes?: number;
}

/** A root file system of its own over shared layers, kept on disk until it is removed. */
export interface WritableRoot {
  readonly id: string;
  /** The root as a detached mount (attach it with `attachMount`, or pivot into it). The caller closes it. */
  mount(): Promise<OwnedFd>;
  /** What was written since it was made. */
  diff(): ChangeStream;
  /** The same as an OCI layer archive. */
  diffStream(options?: TarOptions): Readable;
  /** Another root that goes on from here. Neither may be written to meanwhile. */
  fork(id: string): Promise<WritableRoot>;
  /** Takes back everything that was written. It must not be mounted. */
  discard(): Promise<void>;
  /** Lets go of what it holds open; the root stays on disk. Idempotent. */
  close(): void;
  /** Idempotent. It must not be mounted. */
  remove(): Promise<void>;
}

/** A way to keep writable roots. Every driver passes `storageDriverConformance` of @ns/testing. */
export interface StorageDriver {
  readonly name: string;
  /** Tries the driver for real. Resolves to why it cannot be used here, `undefined` when it can. */
  probe(): Promise<string | undefined>;
  /** @throws NsError ERR_NS_ROOT_EXISTS */
  create(id: string, spec: WritableRootSpec): Promise<WritableRoot>;
  /** @throws NsError ERR_NS_NO_SUCH_ROOT */
  open(id: string): Promise<WritableRoot>;
  /** Ids, sorted. */
  list(): Promise<string[]>;
}
