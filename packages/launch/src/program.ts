import { errnoNumber, SpecError, type SyscallName, syscallNumbers } from '@ns/libc';

/* The wire format of stage/stage.c: change both together. */

const BASE = 0x10000000;
const SPAN = 0x04000000;
/** Where a program stands that a process goes on with when it has another one already, and how much room it has. */
export const CONTINUATION = { address: BASE + SPAN, size: SPAN };
const HEADER_SIZE = 8;
const INSTRUCTION_SIZE = 64;
const ANY_ERRNO = 0xffff;
const OP = {
  jumpEqual: 0xfff0,
  jumpUnequal: 0xfff1,
  copy: 0xfff2,
  decimal: 0xfff3,
  fail: 0xfff4,
  program: 0xfff5,
  add: 0xfff6,
  continue: 0xfff7,
  vfork: 0xfff8,
} as const;
type PseudoOp = keyof typeof OP;

/** An 8-byte variable of a program, at a known address: a result is stored in it, later arguments are read from it. */
export class Slot {
  readonly address: number;
  constructor(address: number) {
    this.address = address;
  }
}

/** A place in a program that jumps can name before it is reached. */
export class Label {
  index = -1;
}

/** An argument: a number, an address that {@link Assembler} returned, or the value a slot will have by then. */
export type Operand = number | bigint | Slot;

/** What happens besides the call itself. */
export interface CallOptions {
  /** Where the result goes. */
  readonly store?: Slot;
  /** Store 4 bytes at this address instead: a field of a struct in the program. */
  readonly store32?: number;
  /** Errors that do not end the program, by name (at most two), or `'any'`. */
  readonly tolerate?: readonly string[] | 'any';
  /** Where to go on after a tolerated error; the next instruction if absent. */
  readonly otherwise?: Label;
}

/** One instruction in readable form, for `explain()` and error messages. */
export interface TracedCall {
  readonly name: SyscallName | PseudoOp;
  readonly operands: readonly Operand[];
  readonly options: CallOptions;
}

/** A finished program. */
export interface Program {
  readonly bytes: Buffer;
  /** For each instruction the index of the step it belongs to, in the order steps were begun. */
  readonly stepOf: Uint16Array;
  /** Readable instructions; only when traced. */
  readonly trace: readonly TracedCall[] | undefined;
  /** Strings by address; only when traced. */
  readonly strings: ReadonlyMap<number, string> | undefined;
}

/** Zeroed memory that grows, seen as bytes and as words. */
class Area {
  bytes: Buffer = Buffer.alloc(16384);
  words: Uint32Array = wordsOf(this.bytes);

  /** Makes sure that `size` bytes are there. */
  require(size: number): void {
    if (size <= this.bytes.length) return;
    const larger = Buffer.alloc(2 ** Math.ceil(Math.log2(size)));
    larger.set(this.bytes);
    this.bytes = larger;
    this.words = wordsOf(larger);
  }

  /** Stores a 64-bit number, two's complement, at a multiple of 4. */
  writeWord(at: number, value: number | bigint): void {
    const { words } = this;
    const index = at >> 2;
    if (typeof value === 'bigint') {
      words[index] = Number(value & 0xffffffffn);
      words[index + 1] = Number((value >> 32n) & 0xffffffffn);
      return;
    }
    // NaN would become 0 without a word: for a user id, root.
    if (!Number.isSafeInteger(value)) throw new SpecError('operand', 'an integer', value);
    words[index] = value;
    // Flooring keeps two's complement for negative numbers: -100 is 0xffffffff_ffffff9c.
    words[index + 1] = Math.floor(value / 2 ** 32);
  }
}

function wordsOf({ buffer, byteOffset, byteLength }: Buffer): Uint32Array {
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}

// Starts come in quick succession, and programs are made synchronously: the memory of the last one serves the next.
const spareAreas: Area[] = [];

/**
 * Turns system calls into the bytes the stage executes. Data comes first and grows upwards from where the program will be,
 * so every address is final when it is handed out; code follows it.
 */
export class Assembler {
  /** Address of the program. */
  readonly base: number;
  readonly #numbers: Readonly<Record<SyscallName, number>>;
  readonly #data: Area = spareAreas.pop() ?? new Area();
  #dataEnd = HEADER_SIZE;
  readonly #code: Area = spareAreas.pop() ?? new Area();
  #count = 0;
  readonly #stepOf: number[] = [];
  #step = 0;
  readonly #jumps: { at: number; label: Label }[] = [];
  readonly #interned = new Map<string, number>();
  readonly #trace: TracedCall[] | undefined;

  /**
   * @param options.arch - whose system call numbers to use; default this machine's
   * @param options.trace - keep the instructions readable (slower)
   * @param options.base - where the program will be; default: where the stage maps one
   */
  constructor(options: { arch?: string; trace?: boolean; base?: number } = {}) {
    this.base = options.base ?? BASE;
    this.#numbers = syscallNumbers(options.arch);
    this.#trace = options.trace ? [] : undefined;
  }

  /** Instructions from here on belong to step `index`. */
  beginStep(index: number): void {
    this.#step = index;
  }

  /** Zeroed or given bytes in the data area; their address. */
  bytes(content: Uint8Array | number): number {
    const given = typeof content !== 'number';
    const at = this.#reserve(given ? content.length : content);
    if (given) this.#data.bytes.set(content, at);
    return this.base + at;
  }

  /** A NUL-terminated string; equal strings share one address. */
  string(text: string): number {
    const known = this.#interned.get(text);
    if (known !== undefined) return known;
    // The kernel would see only what stands before it.
    if (text.includes('\0')) throw new SpecError('text', 'text without NUL bytes', text);
    // No character of a string takes more than three bytes in UTF-8.
    const at = this.#reserve(3 * text.length + 1);
    this.#dataEnd = at + this.#data.bytes.write(text, at) + 1;
    this.#interned.set(text, this.base + at);
    return this.base + at;
  }

  /** A NULL-terminated array of strings: argv or envp. */
  strings(texts: readonly string[]): number {
    const addresses = texts.map((text) => this.string(text));
    return this.words([...addresses, 0]);
  }

  /** An array of 64-bit words. */
  words(values: readonly (number | bigint)[]): number {
    const at = this.#reserve(values.length * 8);
    for (let i = 0; i < values.length; i++) this.#data.writeWord(at + i * 8, values[i]!);
    return this.base + at;
  }

  /** Changes words that are there. */
  setWords(address: number, values: readonly number[]): void {
    for (let i = 0; i < values.length; i++) this.#data.writeWord(address - this.base + i * 8, values[i]!);
  }

  /** Addresses at which a text stands so far. */
  find(text: string): number[] {
    const found: number[] = [];
    const data = this.#data.bytes.subarray(0, this.#dataEnd);
    const length = Buffer.byteLength(text);
    for (let at = data.indexOf(text); at >= 0; at = data.indexOf(text, at + length)) found.push(this.base + at);
    return found;
  }

  /** A new variable, 0 at first. */
  slot(initial = 0): Slot {
    return new Slot(this.words([initial]));
  }

  /** Names the next instruction. */
  place(label: Label): void {
    label.index = this.#count;
  }

  /** A system call. Ends the program with a report when it fails with an errno that is not tolerated. */
  call(name: SyscallName, operands: readonly Operand[], options: CallOptions = {}): void {
    const number = this.#numbers[name];
    if (number === undefined) throw new SpecError('call', 'a system call of this architecture', name);
    this.#emit(name, number, operands, options);
  }

  /**
   * A system call that makes a process: `child` is where that goes on. It shares this one's memory, and this one waits until
   * it has executed another program or ended (CLONE_VM, CLONE_VFORK).
   */
  vfork(name: SyscallName, operands: readonly Operand[], child: Label, store: Slot): void {
    this.#emit(name, OP.vfork, operands, { store, otherwise: child }, this.#numbers[name]);
  }

  /** Goes to `label` when `(value & mask) == expected`. */
  jumpIfEqual(value: Operand, expected: Operand, label: Label, mask: number | bigint = -1): void {
    this.#emit('jumpEqual', OP.jumpEqual, [value, mask, expected], { otherwise: label });
  }

  /** Goes to `label` when `(value & mask) != expected`. */
  jumpIfUnequal(value: Operand, expected: Operand, label: Label, mask: number | bigint = -1): void {
    this.#emit('jumpUnequal', OP.jumpUnequal, [value, mask, expected], { otherwise: label });
  }

  jump(label: Label): void {
    this.jumpIfEqual(0, 0, label);
  }

  /** Copies memory: `length` bytes from one address, which a slot may hold, to another. */
  copy(to: number, from: number | Slot, length: number): void {
    this.#emit('copy', OP.copy, [to, from, length], {});
  }

  /** Stores the sum of two values, modulo 2⁶⁴. */
  add(to: Slot, a: Operand, b: Operand): void {
    this.#emit('add', OP.add, [to.address, a, b], {});
  }

  /** Stores a value. */
  set(to: Slot, value: Operand): void {
    this.add(to, value, 0);
  }

  /** Writes a value as decimal digits and a NUL (at most 21 bytes). */
  decimal(to: number, value: Operand): void {
    this.#emit('decimal', OP.decimal, [to, value], {});
  }

  /** Goes on with the first instruction of another program, given by descriptor. */
  program(fd: Operand): void {
    this.#emit('program', OP.program, [fd], {});
  }

  /** Goes on with the first instruction of the program at {@link CONTINUATION}. */
  continue(): void {
    this.#emit('continue', OP.continue, [CONTINUATION.address], {});
  }

  /** Ends the program with an errno of our own. */
  fail(errno: string): void {
    this.#emit('fail', OP.fail, [errnoOf(errno)], {});
  }

  /**
   * The finished bytes. The assembler is used up.
   *
   * @param statusFd - descriptor of the status socket in the stage
   */
  finish(statusFd: number): Program {
    for (const { at, label } of this.#jumps) {
      if (label.index < 0) throw new SpecError('label', 'a label that was placed', at);
      this.#code.bytes.writeUInt16LE(label.index, at * INSTRUCTION_SIZE + 8);
    }
    const codeOffset = (this.#dataEnd + 7) & ~7;
    const codeSize = this.#count * INSTRUCTION_SIZE;
    const size = codeOffset + codeSize;
    if (size > SPAN) throw new SpecError('steps', `strings and calls of at most ${SPAN} bytes together`, size);
    const [data, code] = [this.#data.bytes, this.#code.bytes];
    data.writeUInt32LE(codeOffset, 0);
    data.writeUInt32LE(statusFd, 4);
    const bytes = Buffer.allocUnsafeSlow(size);
    data.copy(bytes, 0, 0, codeOffset);
    code.copy(bytes, codeOffset, 0, codeSize);
    this.#recycle(codeOffset, codeSize);
    return {
      bytes,
      stepOf: Uint16Array.from(this.#stepOf),
      trace: this.#trace,
      strings: this.#trace && new Map([...this.#interned].map(([text, address]) => [address, text])),
    };
  }

  #recycle(dataSize: number, codeSize: number): void {
    // A program with a megabyte of environment is the exception.
    if (dataSize + codeSize > 2 ** 18 || spareAreas.length >= 2) return;
    this.#data.bytes.fill(0, 0, dataSize);
    this.#code.bytes.fill(0, 0, codeSize);
    spareAreas.push(this.#data, this.#code);
  }

  #reserve(size: number): number {
    const at = (this.#dataEnd + 7) & ~7;
    this.#dataEnd = at + size;
    this.#data.require(this.#dataEnd + 8);
    return at;
  }

  #emit(name: SyscallName | PseudoOp, op: number, operands: readonly Operand[], options: CallOptions, call = 0): void {
    const index = this.#count++;
    if (index >= ANY_ERRNO) throw new SpecError('steps', `at most ${ANY_ERRNO} system calls and jumps`, index + 1);
    const at = index * INSTRUCTION_SIZE;
    const code = this.#code;
    code.require(at + INSTRUCTION_SIZE);
    let indirect = 0;
    for (let i = 0; i < operands.length; i++) {
      const operand = operands[i]!;
      if (operand instanceof Slot) {
        indirect |= 1 << i;
        code.writeWord(at + 16 + i * 8, operand.address);
      } else {
        code.writeWord(at + 16 + i * 8, operand);
      }
    }
    const { tolerate, store, store32, otherwise } = options;
    const first = tolerate === 'any' ? ANY_ERRNO : errnoOf(tolerate?.[0]);
    const second = tolerate === 'any' ? 0 : errnoOf(tolerate?.[1]);
    const { words } = code;
    const word = at >> 2;
    words[word] = op | (indirect << 16) | (store32 === undefined ? 0 : 1 << 24);
    words[word + 1] = first | (second << 16);
    words[word + 2] = (index + 1) | (call << 16);
    words[word + 3] = store32 ?? store?.address ?? 0;
    if (otherwise) this.#jumps.push({ at: index, label: otherwise });
    this.#stepOf.push(this.#step);
    this.#trace?.push({ name, operands, options });
  }
}

function errnoOf(name: string | undefined): number {
  if (name === undefined) return 0;
  const number = errnoNumber(name);
  if (number === undefined) throw new SpecError('errno', 'the name of an errno', name);
  return number;
}
