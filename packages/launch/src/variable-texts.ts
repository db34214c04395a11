import { SpecError } from '@ns/libc';
import type { Assembler } from './program.ts';

/** The kernel takes no more pieces of one message (UIO_MAXIOV). */
const MOST_PLACES = 1024;

/**
 * The texts by which a launch differs from others of the same program. The process receives them, before it does anything
 * else, as one message over the status socket: the kernel puts each where it belongs in the process's own copy.
 */
export class VariableTexts {
  readonly #asm: Assembler;
  readonly #texts: readonly string[];
  readonly #header: number; // struct msghdr

  /** Adds the instruction. */
  constructor(asm: Assembler, statusFd: number, texts: readonly string[]) {
    if (texts.includes('')) throw new SpecError('variables', 'texts that are not empty', texts);
    this.#asm = asm;
    this.#texts = texts;
    this.#header = asm.words([0, 0, 0, 0, 0, 0, 0]);
    asm.call('recvmsg', [statusFd, this.#header, 0]);
  }

  /**
   * Finds where the texts stand, once all instructions are there.
   *
   * @returns of which text each piece of the message is
   */
  place(): number[] {
    const places: { readonly address: number; readonly text: number }[] = [];
    const taken = new Set<number>();
    this.#texts.forEach((text, index) => {
      for (const address of this.#asm.find(text)) {
        // A short id also begins the long one, which was first.
        if (!taken.has(address)) places.push({ address, text: index });
        taken.add(address);
      }
    });
    if (places.length > MOST_PLACES)
      throw new SpecError('variables', `texts that stand in ${MOST_PLACES} places at most`, places.length);
    const vector = this.#asm.words(
      places.flatMap(({ address, text }) => [address, Buffer.byteLength(this.#texts[text]!)]),
    );
    this.#asm.setWords(this.#header + 16, [vector, places.length]);
    return places.map(({ text }) => text);
  }
}
