import { SpecError } from '@ns/libc';
import { BPF, INSTRUCTION_SIZE } from './assembler.ts';

/** What the kernel shows a filter: `struct seccomp_data`. */
export interface SeccompData {
  /** Number of the call; x32's with bit 30. */
  readonly nr: number;
  /** `AUDIT_ARCH_*`. */
  readonly arch: number;
  /** Where the call was made. Default 0. */
  readonly instructionPointer?: bigint;
  /** Up to six, unsigned; missing ones are 0. */
  readonly args: readonly bigint[];
}

/** What a run of a filter came to. */
export interface SimulationResult {
  /** The filter's return value. */
  readonly value: number;
  /** Instructions run. */
  readonly steps: number;
}

/**
 * Runs any classic BPF program that seccomp accepts (libseccomp's, systemd's, one read from a file) without a kernel.
 *
 * @param program - `struct sock_filter` entries
 * @throws RangeError at an instruction for which the kernel refuses the whole program: an unknown one, a load, store or jump out of
 *   bounds, a division by the constant 0, a shift by more than 31, an end without a verdict
 *
 * @example
 * ```ts
 * import { readFileSync } from 'node:fs';
 *
 * // A program that libseccomp exported, asked about read(2) on x86_64.
 * const { value } = simulate(readFileSync('/tmp/filter.bpf'), { nr: 0, arch: 0xc000003e, args: [] });
 * value === SECCOMP_RET.ALLOW;
 * ```
 */
export function simulate(
  program: Uint8Array,
  data: SeccompData,
  options: { bigEndian?: boolean } = {},
): SimulationResult {
  if (!(program instanceof Uint8Array)) throw new SpecError('program', 'the bytes of a program', program);
  const littleEndian = !options.bigEndian;
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const machine = new Machine(encodeSeccompData(data, littleEndian), littleEndian);
  for (let pc = 0, steps = 1; ; pc++, steps++) {
    const at = pc * INSTRUCTION_SIZE;
    if (at + INSTRUCTION_SIZE > program.byteLength) throw new RangeError(`BPF: no instruction ${pc}`);
    const opcode = code.getUint16(at, littleEndian);
    const k = code.getUint32(at + 4, littleEndian);
    if (opcode === BPF.RET_K) return { value: k, steps };
    if (opcode === OP.RET_A) return { value: machine.a, steps };

    const operand = opcode & SOURCE_X ? machine.x : k;
    const [toA, toX, stored] = [intoA[opcode], intoX[opcode], intoMemory[opcode]];
    const compare = comparisons[opcode & ~SOURCE_X];
    const calculate = calculations[opcode & ~SOURCE_X];
    if (toA) machine.a = toA(machine, k);
    else if (toX) machine.x = toX(machine, k);
    else if (stored) machine.store(k, stored(machine));
    else if (opcode === BPF.JA) pc += k;
    else if (compare) pc += code.getUint8(at + (compare(machine.a, operand) ? JT : JF));
    else if (calculate) {
      // The kernel looks at the register before it divides by it: the program ends with 0, which kills the thread.
      if (opcode === (OP.DIV | SOURCE_X) && machine.x === 0) return { value: 0, steps };
      checkConstant(opcode, k);
      machine.a = calculate(machine.a, operand) >>> 0;
    } else throw new RangeError(`BPF: seccomp knows no instruction 0x${opcode.toString(16)}`);
  }
}

/** `struct seccomp_data` as bytes, in the byte order of the architecture. */
function encodeSeccompData(data: SeccompData, littleEndian: boolean): DataView {
  const view = new DataView(new ArrayBuffer(DATA_SIZE));
  view.setUint32(0, data.nr >>> 0, littleEndian);
  view.setUint32(4, data.arch >>> 0, littleEndian);
  view.setBigUint64(8, data.instructionPointer ?? 0n, littleEndian);
  for (let index = 0; index < 6; index++)
    view.setBigUint64(16 + 8 * index, BigInt.asUintN(64, data.args[index] ?? 0n), littleEndian);
  return view;
}

const DATA_SIZE = 64;
const MEMORY_WORDS = 16; // BPF_MEMWORDS

/** The registers, and what programs read and write. */
class Machine {
  a = 0;
  x = 0;
  readonly #memory = new Uint32Array(MEMORY_WORDS);
  readonly #data: DataView;
  readonly #littleEndian: boolean;

  constructor(data: DataView, littleEndian: boolean) {
    this.#data = data;
    this.#littleEndian = littleEndian;
  }

  /** A word of `struct seccomp_data`. */
  load(offset: number): number {
    if (offset >= DATA_SIZE || offset % 4 !== 0) throw new RangeError(`BPF: no word of seccomp_data at ${offset}`);
    return this.#data.getUint32(offset, this.#littleEndian);
  }

  recall(slot: number): number {
    return this.#memory[checkSlot(slot)]!;
  }

  store(slot: number, word: number): void {
    this.#memory[checkSlot(slot)] = word;
  }
}

function checkSlot(slot: number): number {
  if (slot < MEMORY_WORDS) return slot;
  throw new RangeError(`BPF: no word of memory ${slot}`);
}

// <linux/bpf_common.h>. An operation has its operand in the instruction or, with this bit, in the index register.
const SOURCE_X = 0x08;

/** What {@link BPF} has not: instructions that this package's compiler does not make. */
const OP = {
  LD_LEN: 0x80,
  LD_IMM: 0x00,
  LD_MEM: 0x60,
  TXA: 0x87,
  NEG: 0x84,
  LDX_LEN: 0x81,
  LDX_IMM: 0x01,
  LDX_MEM: 0x61,
  TAX: 0x07,
  ST: 0x02,
  STX: 0x03,
  ADD: 0x04,
  SUB: 0x14,
  MUL: 0x24,
  DIV: 0x34,
  OR: 0x44,
  LSH: 0x64,
  RSH: 0x74,
  XOR: 0xa4,
  RET_A: 0x16,
} as const;

// struct sock_filter: where a comparison's distances are.
const JT = 2;
const JF = 3;

type Value = (machine: Machine, k: number) => number;

/** What an instruction puts into the accumulator. */
const intoA: Readonly<Record<number, Value>> = {
  [BPF.LD_W_ABS]: (machine, k) => machine.load(k),
  [OP.LD_LEN]: () => DATA_SIZE,
  [OP.LD_IMM]: (_, k) => k,
  [OP.LD_MEM]: (machine, k) => machine.recall(k),
  [OP.TXA]: ({ x }) => x,
  [OP.NEG]: ({ a }) => -a >>> 0,
};

/** What an instruction puts into the index register. */
const intoX: Readonly<Record<number, Value>> = {
  [OP.LDX_LEN]: () => DATA_SIZE,
  [OP.LDX_IMM]: (_, k) => k,
  [OP.LDX_MEM]: (machine, k) => machine.recall(k),
  [OP.TAX]: ({ a }) => a,
};

/** What an instruction puts into a word of memory. */
const intoMemory: Readonly<Record<number, (machine: Machine) => number>> = {
  [OP.ST]: ({ a }) => a,
  [OP.STX]: ({ x }) => x,
};

/** BPF_JMP, by opcode without the source bit. */
const comparisons: Readonly<Record<number, (a: number, operand: number) => boolean>> = {
  [BPF.JEQ_K]: (a, operand) => a === operand,
  [BPF.JGT_K]: (a, operand) => a > operand,
  [BPF.JGE_K]: (a, operand) => a >= operand,
  [BPF.JSET_K]: (a, operand) => (a & operand) !== 0,
};

/** BPF_ALU, by opcode without the source bit. */
const calculations: Readonly<Record<number, (a: number, operand: number) => number>> = {
  [OP.ADD]: (a, operand) => a + operand,
  [OP.SUB]: (a, operand) => a - operand,
  [OP.MUL]: Math.imul,
  [OP.DIV]: (a, operand) => Math.floor(a / operand),
  [OP.OR]: (a, operand) => a | operand,
  [BPF.AND_K]: (a, operand) => a & operand,
  [OP.XOR]: (a, operand) => a ^ operand,
  // Of a shift by the register the lower 5 bits count, as in JavaScript.
  [OP.LSH]: (a, operand) => a << operand,
  [OP.RSH]: (a, operand) => a >>> operand,
};

function checkConstant(opcode: number, k: number): void {
  if (opcode === OP.DIV && k === 0) throw new RangeError('BPF: a division by 0');
  if ((opcode === OP.LSH || opcode === OP.RSH) && k > 31) throw new RangeError(`BPF: a shift by ${k}`);
}
