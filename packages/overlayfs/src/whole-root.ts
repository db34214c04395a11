import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { OwnedFd } from '@ns/libc';
import { cloneMount } from '@ns/mounts';
import type { Change } from './change.ts';
import { ChangeStream } from './change-stream.ts';
import { sameFile } from './compare-files.ts';
import { openDirectory } from './directory-place.ts';
import { type Comparing, changedEntries, findChanges } from './find-changes.ts';
import { LowerView } from './lower-view.ts';
import type { WritableRoot, WritableRootSpec } from './storage-driver.ts';
import { type TarOptions, tarStream } from './tar-stream.ts';
import type { Steps } from './time-slices.ts';

/** What a driver whose roots are whole trees does for them. */
export interface WholeDriver {
  /** Makes a root that is the same as one that exists. */
  copy(from: WholeRoot, id: string, spec: WritableRootSpec): Promise<WritableRoot>;
  /** Makes the tree of a root what its layers show. */
  reset(id: string, spec: WritableRootSpec): Promise<void>;
  remove(id: string): Promise<void>;
}

/** A root that is a whole tree: what was written is found by comparing it with what its layers show. */
export class WholeRoot implements WritableRoot {
  readonly id: string;
  readonly #spec: WritableRootSpec;
  readonly #driver: WholeDriver;
  readonly #directory: string;

  constructor(id: string, spec: WritableRootSpec, driver: WholeDriver, directory: string) {
    this.id = id;
    this.#spec = spec;
    this.#driver = driver;
    this.#directory = directory;
  }

  /** The tree. */
  get tree(): string {
    return join(this.#directory, 'root');
  }

  async mount(): Promise<OwnedFd> {
    return cloneMount(this.tree);
  }

  diff(): ChangeStream {
    const compare = (): Steps<Change> => this.#compare((comparing) => findChanges(comparing));
    return new ChangeStream(compare);
  }

  diffStream(options: TarOptions = {}): Readable {
    return tarStream(() => this.#compare((comparing) => changedEntries(comparing)), { ...options, kind: 'layer' });
  }

  fork(id: string): Promise<WritableRoot> {
    return this.#driver.copy(this, id, this.#spec);
  }

  discard(): Promise<void> {
    return this.#driver.reset(this.id, this.#spec);
  }

  close(): void {
    // It holds nothing open.
  }

  remove(): Promise<void> {
    return this.#driver.remove(this.id);
  }

  *#compare<T>(walk: (comparing: Comparing) => Generator<T | undefined>): Generator<T | undefined, void, undefined> {
    using after = openDirectory(this.tree);
    using before = new LowerView(this.#spec.layers);
    yield* walk({ after, before, whiteouts: 'none', whole: true, isSame: (was, is) => sameFile(was, is, 'content') });
  }
}
