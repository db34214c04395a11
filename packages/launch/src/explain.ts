import { SyscallError } from '@ns/libc';
import { describeStep } from './describe-step.ts';
import { formatCall } from './format-call.ts';
import { type FdLayout, Lowering, type Step } from './lowering.ts';
import type { TracedCall } from './program.ts';

/** One step of a plan and what it becomes. */
export interface ExplainedStep {
  /** Position, from 1. */
  readonly number: number;
  /** 0 for the monitor, 1 for the process it starts, 2 for that one's child, … */
  readonly depth: number;
  readonly step: Step;
  /** In words: `mount overlay on /`. */
  readonly description: string;
  /** System calls, with flags by name: `fsmount($7, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV)`. */
  readonly calls: readonly string[];
}

/** What a process was launched with. */
export interface LaunchedSteps {
  readonly steps: readonly Step[];
  readonly layout: FdLayout;
  /** Texts that it was sent for its program. */
  readonly variables: readonly string[];
}

/** A plan as data that prints itself. */
export class Explanation {
  readonly steps: readonly ExplainedStep[];
  /** What was asked for and will not be had, a sentence each. */
  readonly warnings: readonly string[];

  constructor(steps: readonly ExplainedStep[], warnings: readonly string[] = []) {
    this.steps = steps;
    this.warnings = warnings;
  }

  /** Every step on a line, its system calls indented below; then the warnings. */
  toString(options: { calls?: boolean } = {}): string {
    const width = String(this.steps.length).length;
    const lines = this.steps.flatMap(({ number, depth, step, description, calls }) => {
      const indent = '  '.repeat(depth);
      const line = `${String(number).padStart(width)}  ${indent}${step.op}: ${description}`;
      return options.calls === false
        ? [line]
        : [line, ...calls.map((call) => `${' '.repeat(width + 6)}${indent}${call}`)];
    });
    return [...lines, ...this.warnings.map((warning) => `warning: ${warning}`)].join('\n');
  }

  toJSON(): readonly ExplainedStep[] {
    return this.steps;
  }
}

/** What is between system calls. */
const untold: ReadonlySet<string> = new Set<TracedCall['name']>(['jumpEqual', 'jumpUnequal', 'copy', 'add']);
const pseudo: ReadonlySet<string> = new Set([...untold, 'decimal', 'fail']);

/** What a list of steps will do, without doing any of it. Needs no privileges. */
export function explain(steps: readonly Step[], layout: FdLayout, arch?: string): Explanation {
  const { lowering, trace, stepOf, strings } = traced(steps, layout, { arch });
  const calls = lowering.steps.map((): string[] => []);
  trace.forEach((call, index) => {
    if (!untold.has(call.name)) calls[stepOf[index]!]!.push(formatCall(call, strings));
  });
  return new Explanation(
    lowering.steps.map(({ step, depth }, i) => ({
      number: i + 1,
      depth,
      step,
      description: describeStep(step),
      calls: calls[i]!,
    })),
  );
}

/** The error for an instruction that failed: made by lowering the same steps again, readably this time. */
export function describeFailure(
  { steps, layout, variables }: LaunchedSteps,
  instruction: number,
  errno: number,
): SyscallError {
  const { lowering, trace, stepOf, strings } = traced(steps, layout, { variables });
  const stepIndex = stepOf[instruction] ?? 0;
  const { step } = lowering.steps[stepIndex]!;
  const call = trace[instruction]!;
  const failedCall = call.name === 'fail' ? lastSyscall(trace, instruction) : call;
  return new SyscallError(failedCall.name, errno, {
    doing: describeStep(step),
    step: { number: stepIndex + 1, of: lowering.steps.length, op: step.op },
    args: { call: formatCall(failedCall, strings), ...step },
    path: 'target' in step ? step.target : 'path' in step ? step.path : undefined,
  });
}

function lastSyscall(trace: readonly TracedCall[], before: number): TracedCall {
  return trace.slice(0, before).findLast(({ name }) => !pseudo.has(name)) ?? trace[before]!;
}

function traced(
  steps: readonly Step[],
  layout: FdLayout,
  options: { readonly arch?: string | undefined; readonly variables?: readonly string[] },
) {
  const { arch, variables = [] } = options;
  const lowering = new Lowering(layout, { trace: true, variables, ...(arch && { arch }) });
  lowering.lower(steps);
  const { trace, stepOf, strings } = lowering.finish();
  return { lowering, trace: trace!, stepOf, strings: strings! };
}
