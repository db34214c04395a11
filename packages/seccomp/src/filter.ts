import { SpecError } from '@ns/libc';
import { type Decision, decisionOf } from './actions.ts';
import { architectures, parseArch, type SeccompArch } from './architectures.ts';
import { INSTRUCTION_SIZE } from './assembler.ts';
import { simulate } from './simulate.ts';
import { syscallTable } from './syscall-table.ts';

/** A system call to be judged. */
export interface SimulatedCall {
  /** Name, or number as the kernel shows it (x32's with bit 30). */
  readonly syscall: string | number;
  /** Up to six arguments; missing ones are 0. Negative ones count as in two's complement. */
  readonly args?: readonly (number | bigint)[];
  /** ABI of the call. Default: the filter's own. */
  readonly arch?: string;
}

/** What a filter is besides its bytes. */
export interface FilterFacts {
  /** The machine it was compiled for. */
  readonly arch: SeccompArch;
  /** The ABIs it knows; calls through any other kill the process. */
  readonly architectures: readonly SeccompArch[];
  /** For seccomp(2). `NEW_LISTENER` is not among them: the installer adds it when it wants the descriptor. */
  readonly flags: number;
  /** Whether a rule has `SCMP_ACT_NOTIFY`, so that the filter needs a listener. */
  readonly notifies: boolean;
  /** What was left out of the profile, in words. */
  readonly warnings: readonly string[];
}

/** A compiled filter: a Buffer of `struct sock_filter`, in the byte order of its machine, that can be asked what it does. */
export interface SeccompFilter extends Buffer, FilterFacts {
  /** Entries of 8 bytes; the kernel takes 4096. */
  readonly instructionCount: number;
  /**
   * What the filter decides about a call: the program itself is run, in a simulator; no kernel is asked.
   *
   * @throws SpecError for a call the ABI does not have
   */
  evaluate(call: SimulatedCall): Decision;
  /** How many instructions that takes. */
  countSteps(call: SimulatedCall): number;
}

/** Gives a program its facts and methods. They are not enumerable: it still prints and compares as the Buffer it is. */
export function attachFilterMethods(program: Buffer, facts: FilterFacts): SeccompFilter {
  const { bigEndian } = architectures[facts.arch];
  const run = (call: SimulatedCall) => simulate(program, toSeccompData(call, facts.arch), { bigEndian });
  const members = {
    ...facts,
    instructionCount: program.length / INSTRUCTION_SIZE,
    evaluate: (call: SimulatedCall) => decisionOf(run(call).value),
    countSteps: (call: SimulatedCall) => run(call).steps,
  };
  for (const [name, value] of Object.entries(members)) Object.defineProperty(program, name, { value });
  return program as SeccompFilter;
}

/** `struct seccomp_data` of a call that somebody describes in words. */
export function toSeccompData(call: SimulatedCall, native: SeccompArch): { nr: number; arch: number; args: bigint[] } {
  if (typeof call !== 'object' || call === null)
    throw new SpecError('call', "an object such as { syscall: 'mount', args: [] }", call);
  if (call.args !== undefined && !Array.isArray(call.args))
    throw new SpecError('call.args', 'a list of arguments', call.args);
  const arch = call.arch === undefined ? native : parseArch(call.arch, 'call.arch');
  const nr = typeof call.syscall === 'number' ? call.syscall : syscallTable(arch).numbers.get(call.syscall);
  if (nr === undefined || !Number.isInteger(nr))
    throw new SpecError('call.syscall', `a system call of ${arch}`, call.syscall);
  const args = (call.args ?? []).map((value, index) => {
    if (typeof value === 'bigint' || Number.isSafeInteger(value)) return BigInt(value);
    throw new SpecError(`call.args[${index}]`, 'a whole number, above 2^53 a bigint', value);
  });
  return { nr: nr >>> 0, arch: architectures[arch].audit, args };
}
