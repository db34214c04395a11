import type { FullDeviceRule } from './device-policy.ts';

/* An eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE: gets a struct bpf_cgroup_dev_ctx, returns 1 to allow.
   Assembled here, because loading clang or libbpf for thirty instructions would be out of proportion. */

/** struct bpf_insn */
interface Instruction {
  readonly code: number;
  readonly dst?: number;
  readonly src?: number;
  readonly off?: number;
  readonly imm?: number;
}

const LDX_MEM_W = 0x61;
const ALU32_AND_K = 0x54;
const ALU32_RSH_K = 0x74;
const ALU32_MOV_X = 0xbc;
const ALU64_MOV_K = 0xb7;
const JMP_EXIT = 0x95;
// Of the whole register: loads and 32-bit arithmetic clear its upper half, and 32-bit jumps are since 5.1 only.
const JMP_JNE_K = 0x55;
const JMP_JEQ_K = 0x15;

/** Registers: r1 is the context on entry; the rest is ours to choose. */
const [R0, R1, TYPE, ACCESS, MAJOR, MINOR] = [0, 1, 2, 3, 4, 5];

/** <linux/bpf.h>: the low half of access_type is the kind, the high half what is asked. */
const kindBits = { b: 1, c: 2 } as const;
const accessBits: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 };

/**
 * The program for a list of rules, as an array of struct bpf_insn.
 *
 * The last rule that fits decides, so they are tested from the last to the first. An allowing rule fits when it covers
 * all that is asked, a denying one when it covers any of it.
 */
export function deviceProgram(rules: readonly FullDeviceRule[]): Buffer {
  const program: Instruction[] = [
    { code: LDX_MEM_W, dst: TYPE, src: R1, off: 0 },
    { code: ALU32_MOV_X, dst: ACCESS, src: TYPE },
    { code: ALU32_AND_K, dst: TYPE, imm: 0xffff },
    { code: ALU32_RSH_K, dst: ACCESS, imm: 16 },
    { code: LDX_MEM_W, dst: MAJOR, src: R1, off: 4 },
    { code: LDX_MEM_W, dst: MINOR, src: R1, off: 8 },
    ...decidingRules(rules).flatMap(ruleInstructions),
  ];
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, { code, dst = 0, src = 0, off = 0, imm = 0 }] of program.entries()) {
    bytes.writeUInt8(code, index * 8);
    bytes.writeUInt8((src << 4) | dst, index * 8 + 1);
    bytes.writeInt16LE(off, index * 8 + 2);
    bytes.writeInt32LE(imm, index * 8 + 4);
  }
  return bytes;
}

const denyAll: FullDeviceRule = { allow: false, type: 'a', major: '*', minor: '*', access: 'rwm' };

/** From the last to the first that fits everything: the verifier refuses instructions that cannot be reached. */
function decidingRules(rules: readonly FullDeviceRule[]): readonly FullDeviceRule[] {
  const fromLast = [denyAll, ...rules].reverse();
  const final = fromLast.findIndex((rule) => testsOf(rule).length === 0);
  return fromLast.slice(0, final + 1);
}

const verdict = (value: 0 | 1): Instruction[] => [{ code: ALU64_MOV_K, dst: R0, imm: value }, { code: JMP_EXIT }];

/** Tests that send a request that does not fit on to the next rule; where that begins is filled in later. */
function testsOf(rule: FullDeviceRule): Instruction[] {
  const asked = [...rule.access].reduce((bits, letter) => bits | accessBits[letter]!, 0);
  const tests: Instruction[] = [];
  if (rule.type !== 'a') tests.push({ code: JMP_JNE_K, dst: TYPE, imm: kindBits[rule.type] });
  if (asked !== 7) {
    tests.push({ code: ALU32_MOV_X, dst: R1, src: ACCESS });
    tests.push({ code: ALU32_AND_K, dst: R1, imm: rule.allow ? 7 & ~asked : asked });
    tests.push({ code: rule.allow ? JMP_JNE_K : JMP_JEQ_K, dst: R1, imm: 0 });
  }
  if (rule.major !== '*') tests.push({ code: JMP_JNE_K, dst: MAJOR, imm: rule.major });
  if (rule.minor !== '*') tests.push({ code: JMP_JNE_K, dst: MINOR, imm: rule.minor });
  return tests;
}

function ruleInstructions(rule: FullDeviceRule): Instruction[] {
  const body = [...testsOf(rule), ...verdict(rule.allow ? 1 : 0)];
  return body.map((instruction, index) =>
    instruction.code === JMP_JNE_K || instruction.code === JMP_JEQ_K
      ? { ...instruction, off: body.length - index - 1 }
      : instruction,
  );
}
