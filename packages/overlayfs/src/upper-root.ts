import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type OwnedFd, rollBack } from '@ns/libc';
import type { ChangeStream } from './change-stream.ts';
import { diffLayer } from './diff-layer.ts';
import { discard } from './discard.ts';
import type { SizedDirectory } from './sized-directory.ts';
import { snapshot } from './snapshot.ts';
import type { WritableRoot, WritableRootSpec } from './storage-driver.ts';
import { diffStream, type TarOptions } from './tar-stream.ts';
import type { WhiteoutForm } from './whiteouts.ts';

/** What a driver that keeps writes in an upper directory does for its roots. */
export interface UpperDriver {
  readonly whiteouts: WhiteoutForm;
  /** A detached mount of the layers with the upper over them. */
  mount(layers: readonly string[], upper: string, work: string): Promise<OwnedFd>;
  create(id: string, spec: WritableRootSpec): Promise<WritableRoot & { readonly upper: string }>;
  remove(id: string): Promise<void>;
}

/** A root whose writes are in a directory of their own, over layers that are read where they are. */
export class UpperRoot implements WritableRoot {
  readonly id: string;
  readonly #spec: WritableRootSpec;
  readonly #driver: UpperDriver;
  readonly #directory: string;
  readonly #sized: SizedDirectory | undefined;

  constructor(id: string, spec: WritableRootSpec, driver: UpperDriver, directory: string, sized?: SizedDirectory) {
    this.id = id;
    this.#spec = spec;
    this.#driver = driver;
    this.#directory = directory;
    this.#sized = sized;
  }

  /** The upper directory. */
  get upper(): string {
    return join(this.#directory, 'upper');
  }

  get #work(): string {
    return join(this.#directory, 'work');
  }

  mount(): Promise<OwnedFd> {
    return this.#driver.mount(this.#spec.layers, this.upper, this.#work);
  }

  diff(): ChangeStream {
    return diffLayer(this.upper, this.#spec.layers, { whiteouts: this.#driver.whiteouts });
  }

  diffStream(options?: TarOptions): Readable {
    return diffStream(this.upper, { ...options, whiteouts: this.#driver.whiteouts });
  }

  async fork(id: string): Promise<WritableRoot> {
    const copy = await this.#driver.create(id, this.#spec);
    try {
      await snapshot(this.upper, copy.upper);
      return copy;
    } catch (error) {
      throw await rollBack(error, () => copy.remove());
    }
  }

  discard(): Promise<void> {
    return discard(this.upper, this.#work);
  }

  close(): void {
    this.#sized?.close();
  }

  async remove(): Promise<void> {
    this.close();
    await this.#driver.remove(this.id);
  }
}
