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

const U64 = (1n << 64n) - 1n;

/** `struct seccomp_data` as bytes, in the byte order of the architecture. */
function encodeSeccompData(data: SeccompData, options: { bigEndian: boolean }): DataView {
  const view = new DataView(new ArrayBuffer(64));
  const little = !options.bigEndian;
  view.setUint32(0, data.nr >>> 0, little);
  view.setUint32(4, data.arch >>> 0, little);
  view.setBigUint64(8, data.instructionPointer ?? 0n, little);
  for (let index = 0; index < 6; index++) view.setBigUint64(16 + 8 * index, (data.args[index] ?? 0n) & U64, little);
  return view;
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
 * @throws RangeError for what the kernel would have refused to load: an unknown instruction, a jump or load out of bounds, no verdict
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
  const bigEndian = options.bigEndian ?? false;
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const input = encodeSeccompData(data, { bigEndian });
  const memory = new Uint32Array(16);
  const little = !bigEndian;
  let a = 0;
  let x = 0;
  for (let pc = 0, steps = 1; ; pc++, steps++) {
    const at = pc * INSTRUCTION_SIZE;
    if (at + INSTRUCTION_SIZE > program.byteLength) throw new RangeError(`BPF: no instruction ${pc}`);
    const opcode = code.getUint16(at, little);
    const k = code.getUint32(at + 4, little);
    const branch = (condition: boolean) => {
      pc += code.getUint8(at + (condition ? 2 : 3));
    };
    // Most operations exist with the constant and with the index register (bit 3).
    const operand = opcode & 0x08 ? x : k;
    switch (opcode) {
      case BPF.LD_W_ABS:
        a = input.getUint32(k, little);
        break;
      case 0x80: // ld len
        a = 64;
        break;
      case 0x81: // ldx len
        x = 64;
        break;
      case 0x00: // ld imm
        a = k;
        break;
      case 0x01: // ldx imm
        x = k;
        break;
      case 0x60: // ld mem
        a = memory[k & 15]!;
        break;
      case 0x61: // ldx mem
        x = memory[k & 15]!;
        break;
      case 0x02: // st
        memory[k & 15] = a;
        break;
      case 0x03: // stx
        memory[k & 15] = x;
        break;
      case 0x07: // tax
        x = a;
        break;
      case 0x87: // txa
        a = x;
        break;
      case 0x04:
      case 0x0c:
        a = (a + operand) >>> 0;
        break;
      case 0x14:
      case 0x1c:
        a = (a - operand) >>> 0;
        break;
      case 0x24:
      case 0x2c:
        a = Math.imul(a, operand) >>> 0;
        break;
      case 0x34:
      case 0x3c:
        // Division by a zero register ends the program with 0, as in the kernel.
        if (operand === 0) return { value: 0, steps };
        a = Math.floor(a / operand);
        break;
      case 0x44:
      case 0x4c:
        a = (a | operand) >>> 0;
        break;
      case BPF.AND_K:
      case 0x5c:
        a = (a & operand) >>> 0;
        break;
      case 0xa4:
      case 0xac:
        a = (a ^ operand) >>> 0;
        break;
      case 0x64:
      case 0x6c:
        a = operand > 31 ? 0 : (a << operand) >>> 0;
        break;
      case 0x74:
      case 0x7c:
        a = operand > 31 ? 0 : a >>> operand;
        break;
      case 0x84: // neg
        a = -a >>> 0;
        break;
      case BPF.JA:
        pc += k;
        break;
      case BPF.JEQ_K:
      case 0x1d:
        branch(a === operand);
        break;
      case BPF.JGT_K:
      case 0x2d:
        branch(a > operand);
        break;
      case BPF.JGE_K:
      case 0x3d:
        branch(a >= operand);
        break;
      case BPF.JSET_K:
      case 0x4d:
        branch((a & operand) !== 0);
        break;
      case BPF.RET_K:
        return { value: k, steps };
      case 0x16: // ret a
        return { value: a, steps };
      default:
        throw new RangeError(`BPF: seccomp knows no instruction 0x${opcode.toString(16)}`);
    }
  }
}
