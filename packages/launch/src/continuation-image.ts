import { allocate, type Memory, SpecError } from '@ns/libc';
import { type FdLayout, Lowering, type Step } from './lowering.ts';
import { CONTINUATION } from './program.ts';
import { findTexts } from './variable-texts.ts';

/** The bytes of a program that a process goes on with: complete, so that it has nothing to ask for. */
export class ContinuationImage {
  readonly #memory: Memory;
  readonly #variables: readonly string[];
  /** Where in it which of the variables stands. */
  readonly #places: readonly { readonly at: number; readonly text: number }[];

  /** @param variables - texts that {@link with} replaces by others of the same length: the longest first */
  constructor(steps: readonly Step[], layout: FdLayout, variables: readonly string[] = []) {
    const lowering = new Lowering(layout, { base: CONTINUATION.address });
    lowering.lower(steps);
    this.#places = findTexts(lowering.asm, variables).map(({ address, text }) => ({
      at: address - CONTINUATION.address,
      text,
    }));
    const { bytes } = lowering.finish();
    this.#memory = allocate(bytes.length);
    this.#memory.bytes.set(bytes);
    this.#variables = variables;
  }

  /**
   * With these texts: good until the next call.
   *
   * @throws SpecError for texts of other lengths
   */
  with(variables: readonly string[]): Memory {
    if (variables.length !== this.#variables.length || variables.some((text, i) => !this.#fits(text, i)))
      throw new SpecError('variables', 'texts as long as those it was prepared with', variables);
    for (const { at, text } of this.#places) this.#memory.bytes.write(variables[text]!, at);
    return this.#memory;
  }

  #fits(text: string, index: number): boolean {
    return Buffer.byteLength(text) === Buffer.byteLength(this.#variables[index]!) && !text.includes('\0');
  }
}
