import { check, type Memory, MSG, type OwnedFd, SpecError, SYS, syscall } from '@ns/libc';
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
    const places = findTexts(this.#asm, this.#texts);
    if (places.length > MOST_PLACES)
      throw new SpecError('variables', `texts that stand in ${MOST_PLACES} places at most`, places.length);
    const vector = this.#asm.words(
      places.flatMap(({ address, text }) => [address, Buffer.byteLength(this.#texts[text]!)]),
    );
    this.#asm.setWords(this.#header + 16, [vector, places.length]);
    return places.map(({ text }) => text);
  }
}

/** Where texts stand, the longest first, in what was assembled so far; `text` is the index of one. */
export function findTexts(asm: Assembler, texts: readonly string[]): { address: number; text: number }[] {
  const places = new Map<number, number>();
  texts.forEach((text, index) => {
    // A short id also begins the long one, which was first.
    for (const address of asm.find(text)) if (!places.has(address)) places.set(address, index);
  });
  return [...places].map(([address, text]) => ({ address, text }));
}

/** Puts the texts of a launch where its process will look for them first. */
export function sendTexts(status: OwnedFd, { address, bytes }: Memory): void {
  check('sendto', syscall(SYS.sendto, status.fd, address, bytes.length, MSG.NOSIGNAL, 0, 0));
}
