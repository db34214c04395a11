import { cString, ERRNO, SpecError, type SyscallName, syscallNumbers } from '@ns/libc';

/* The wire format of stage/stage.c: change both together. */

const BASE = 0x10000000;
const SPAN = 0x04000000;
const HEADER_SIZE = 8;
const INSTRUCTION_SIZE = 64;
const ANY_ERRNO = 0xffff;
const OP = { jumpEqual: 0xfff0, jumpUnequal: 0xfff1, copy: 0xfff2, decimal: 0xfff3, fail: 0xfff4 } as const;
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

/**
 * Turns system calls into the bytes the stage executes. Data comes first and grows upwards from {@link BASE}, so every
 * address is final when it is handed out; code follows it.
 */
export class Assembler {
  readonly #numbers: Readonly<Record<SyscallName, number>>;
  #data: Buffer = Buffer.alloc(8192);
  #dataEnd = HEADER_SIZE;
  #code: Buffer = Buffer.alloc(16384);
  #count = 0;
  #stepOf: Uint16Array = new Uint16Array(256);
  #step = 0;
  readonly #jumps: { at: number; label: Label }[] = [];
  readonly #interned = new Map<string, number>();
  readonly #trace: TracedCall[] | undefined;

  /**
   * @param options.arch - whose system call numbers to use; default this machine's
   * @param options.trace - keep the instructions readable (slower)
   */
  constructor(options: { arch?: string; trace?: boolean } = {}) {
    this.#numbers = syscallNumbers(options.arch);
    this.#trace = options.trace ? [] : undefined;
  }

  /** Instructions from here on belong to step `index`. */
  beginStep(index: number): void {
    this.#step = index;
  }

  /** Zeroed or given bytes in the data area; their address. */
  bytes(content: Uint8Array | number): number {
    const size = typeof content === 'number' ? content : content.length;
    const at = this.#reserve(size);
    if (typeof content !== 'number') this.#data.set(content, at);
    return BASE + at;
  }

  /** A NUL-terminated string; equal strings share one address. */
  string(text: string): number {
    let address = this.#interned.get(text);
    if (address === undefined) {
      address = this.bytes(cString(text, 'text').bytes);
      this.#interned.set(text, address);
    }
    return address;
  }

  /** A NULL-terminated array of strings: argv or envp. */
  strings(texts: readonly string[]): number {
    const addresses = texts.map((text) => this.string(text));
    return this.words([...addresses, 0]);
  }

  /** An array of 64-bit words. */
  words(values: readonly (number | bigint)[]): number {
    const at = this.#reserve(values.length * 8);
    values.forEach((value, i) => {
      this.#data.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at + i * 8);
    });
    return BASE + at;
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

  /** Copies memory: `length` bytes from one address to another. */
  copy(to: number, from: number, length: number): void {
    this.#emit('copy', OP.copy, [to, from, length], {});
  }

  /** Writes a value as decimal digits and a NUL (at most 21 bytes). */
  decimal(to: number, value: Operand): void {
    this.#emit('decimal', OP.decimal, [to, value], {});
  }

  /** Ends the program with an errno of our own. */
  fail(errno: string): void {
    this.#emit('fail', OP.fail, [errnoOf(errno)], {});
  }

  /**
   * The finished bytes.
   *
   * @param statusFd - descriptor of the status socket in the stage
   */
  finish(statusFd: number): Program {
    for (const { at, label } of this.#jumps) {
      if (label.index < 0) throw new SpecError('label', 'a label that was placed', at);
      this.#code.writeUInt16LE(label.index, at * INSTRUCTION_SIZE + 8);
    }
    const codeOffset = (this.#dataEnd + 7) & ~7;
    const size = codeOffset + this.#count * INSTRUCTION_SIZE;
    if (size > SPAN) throw new SpecError('steps', `strings and calls of at most ${SPAN} bytes together`, size);
    const bytes = Buffer.allocUnsafeSlow(size);
    this.#data.copy(bytes, 0, 0, codeOffset);
    this.#code.copy(bytes, codeOffset, 0, this.#count * INSTRUCTION_SIZE);
    bytes.writeUInt32LE(codeOffset, 0);
    bytes.writeUInt32LE(statusFd, 4);
    return {
      bytes,
      stepOf: this.#stepOf.slice(0, this.#count),
      trace: this.#trace,
      strings: this.#trace && new Map([...this.#interned].map(([text, address]) => [address, text])),
    };
  }

  #reserve(size: number): number {
    const at = (this.#dataEnd + 7) & ~7;
    this.#dataEnd = at + size;
    while (this.#dataEnd + 8 > this.#data.length)
      this.#data = Buffer.concat([this.#data, Buffer.alloc(this.#data.length)]);
    return at;
  }

  #emit(name: SyscallName | PseudoOp, op: number, operands: readonly Operand[], options: CallOptions): void {
    const index = this.#count++;
    if (index >= ANY_ERRNO) throw new SpecError('steps', `at most ${ANY_ERRNO} system calls and jumps`, index + 1);
    const at = index * INSTRUCTION_SIZE;
    if (at + INSTRUCTION_SIZE > this.#code.length)
      this.#code = Buffer.concat([this.#code, Buffer.alloc(this.#code.length)]);
    if (index >= this.#stepOf.length) {
      const larger = new Uint16Array(this.#stepOf.length * 2);
      larger.set(this.#stepOf);
      this.#stepOf = larger;
    }
    const code = this.#code;
    let indirect = 0;
    for (let i = 0; i < operands.length; i++) {
      const operand = operands[i]!;
      const value = operand instanceof Slot ? operand.address : operand;
      if (operand instanceof Slot) indirect |= 1 << i;
      writeWord(code, value, at + 16 + i * 8);
    }
    code.writeUInt16LE(op, at);
    code[at + 2] = indirect;
    code[at + 3] = options.store32 === undefined ? 0 : 1;
    const { tolerate } = options;
    code.writeUInt16LE(tolerate === 'any' ? ANY_ERRNO : errnoOf(tolerate?.[0]), at + 4);
    code.writeUInt16LE(tolerate === 'any' ? 0 : errnoOf(tolerate?.[1]), at + 6);
    code.writeUInt16LE(index + 1, at + 8);
    if (options.otherwise) this.#jumps.push({ at: index, label: options.otherwise });
    code.writeUInt32LE(options.store32 ?? options.store?.address ?? 0, at + 12);
    this.#stepOf[index] = this.#step;
    this.#trace?.push({ name, operands, options });
  }
}

function errnoOf(name: string | undefined): number {
  if (name === undefined) return 0;
  const number = ERRNO[name];
  if (number === undefined) throw new SpecError('errno', 'the name of an errno', name);
  return number;
}

function writeWord(buffer: Buffer, value: number | bigint, at: number): void {
  if (typeof value === 'bigint') {
    buffer.writeBigUInt64LE(BigInt.asUintN(64, value), at);
    return;
  }
  // NaN would become 0 without a word: for a user id, root.
  if (!Number.isSafeInteger(value)) throw new SpecError('operand', 'an integer', value);
  buffer.writeUInt32LE(value >>> 0, at);
  // Flooring keeps two's complement for negative numbers: -100 is 0xffffffff_ffffff9c.
  buffer.writeUInt32LE(Math.floor(value / 2 ** 32) >>> 0, at + 4);
}
