import { allocate, type Memory, SpecError } from '@ns/libc';
import { ContinuationImage } from './continuation-image.ts';
import { type FdLayout, Lowering, type Step } from './lowering.ts';

/** By what launches of a prepared program differ. */
export interface PreparedOptions {
  /** Names of descriptors that steps refer to: the keys of the launch's `fds`, in their order. */
  readonly fds?: readonly string[];
  /** How many `extraFds` there will be. Default 0. */
  readonly extraFds?: number;
  /**
   * Texts that the next launch replaces by others of the same length, such as an id: the longest first. Each must be so
   * unlikely that it cannot stand in the steps by chance.
   */
  readonly variables?: readonly string[];
}

/**
 * Steps that were assembled once, for many launches: `launch({ steps: prepared, variables })`.
 *
 * @example
 * ```ts
 * import { launch, PreparedProgram, type Step } from '@ns/launch';
 *
 * const steps: Step[] = [
 *   { op: 'newSession' },
 *   { op: 'closeFds' },
 *   { op: 'unblockSignals' },
 *   { op: 'exec', candidates: ['/bin/echo'], argv: ['echo', 'id-0001'], env: [] },
 * ];
 * const prepared = new PreparedProgram(steps, { variables: ['id-0001'] });
 * launch({ steps: prepared, variables: ['id-0002'] });
 * ```
 */
export class PreparedProgram {
  readonly #steps: readonly Step[];
  /** Which descriptors it was prepared for. */
  readonly layout: FdLayout;
  /** Those that it was prepared with. */
  readonly variables: readonly string[];
  /** How many bytes each of them has. */
  readonly #sizes: readonly number[];
  /** For a file that launches share; a process changes its own copy. */
  readonly bytes: Buffer;
  /** Of which variable each piece of the message is that a process receives. */
  readonly #pieces: readonly number[];
  readonly #message: Memory;
  #continuation: ContinuationImage | undefined;

  /** @throws SpecError for steps that cannot be right, and for variables in more than 1024 places */
  constructor(steps: readonly Step[], options: PreparedOptions = {}) {
    const { fds = [], extraFds = 0, variables = [] } = options;
    this.layout = { extra: extraFds, named: [...fds] };
    this.variables = [...variables];
    this.#sizes = variables.map((text) => Buffer.byteLength(text));
    const lowering = new Lowering(this.layout, { variables });
    lowering.lower(steps);
    this.bytes = lowering.finish().bytes;
    // A copy: the caller's may change.
    this.#steps = structuredClone(steps);
    this.#pieces = lowering.texts;
    this.#message = allocate(this.#pieces.reduce((size, text) => size + this.#sizes[text]!, 0));
  }

  /** As it was prepared. */
  get steps(): readonly Step[] {
    return this.#steps;
  }

  /** For a process that has a program already. */
  get continuation(): ContinuationImage {
    this.#continuation ??= new ContinuationImage(this.#steps, this.layout, this.variables);
    return this.#continuation;
  }

  /** Was it prepared for these descriptors? There may be more names, to which no step refers. */
  isFor({ extra, named }: FdLayout): boolean {
    return extra === this.layout.extra && this.layout.named.every((name, i) => name === named[i]);
  }

  /** Would the same have been made of these? */
  isOf(steps: readonly Step[], layout: FdLayout, variables: readonly string[]): boolean {
    if (!this.#fits(variables)) return false;
    const rename = (text: string) => this.#rename(text, variables);
    return isSame(this.layout, layout, rename) && isSame(this.#steps, steps, rename);
  }

  /**
   * What the process of one launch receives first, if it waits for anything: valid until the next call.
   *
   * @throws SpecError for variables of other lengths
   */
  textsFor(variables: readonly string[]): Memory | undefined {
    if (!this.#fits(variables) || variables.some((text) => text.includes('\0')))
      throw new SpecError('variables', 'texts as long as those it was prepared with', variables);
    if (variables.length === 0) return undefined;
    let at = 0;
    for (const text of this.#pieces) at += this.#message.bytes.write(variables[text]!, at);
    return this.#message;
  }

  /** The steps of one launch, to explain them by. */
  stepsFor(variables: readonly string[]): readonly Step[] {
    return renamed(this.#steps, (text) => this.#rename(text, variables)) as readonly Step[];
  }

  #fits(variables: readonly string[]): boolean {
    const sizes = this.#sizes;
    return sizes.length === variables.length && sizes.every((size, i) => size === Buffer.byteLength(variables[i]!));
  }

  #rename(text: string, variables: readonly string[]): string {
    return this.variables.reduce((changed, old, i) => changed.replaceAll(old, variables[i]!), text);
  }
}

/** Deep equality after renaming. The order of keys counts: mount options are given to the kernel in that order. */
function isSame(known: unknown, wanted: unknown, rename: (text: string) => string): boolean {
  if (known === wanted) return true;
  if (typeof known === 'string') return known.length === (wanted as string | null)?.length && rename(known) === wanted;
  if (typeof known !== 'object' || typeof wanted !== 'object' || !known || !wanted) return false;
  if (known instanceof Uint8Array || wanted instanceof Uint8Array)
    return known instanceof Uint8Array && wanted instanceof Uint8Array && Buffer.compare(known, wanted) === 0;
  const [knownKeys, wantedKeys] = [Object.keys(known), Object.keys(wanted)];
  if (knownKeys.length !== wantedKeys.length) return false;
  for (let i = 0; i < knownKeys.length; i++) {
    const key = knownKeys[i]!;
    if (key !== wantedKeys[i]) return false;
    if (!isSame((known as Record<string, unknown>)[key], (wanted as Record<string, unknown>)[key], rename))
      return false;
  }
  return true;
}

/** A deep copy with other texts. */
function renamed(value: unknown, rename: (text: string) => string): unknown {
  if (typeof value === 'string') return rename(value);
  if (typeof value !== 'object' || !value || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map((item) => renamed(item, rename));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, renamed(item, rename)]));
}
