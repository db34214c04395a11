import { SpecError } from '@ns/libc';
import { Assembler, type Program, type Slot } from './program.ts';
import { type DetachedMountStep, detachedMountLowerings } from './steps/detached-mount.ts';
import { type MountStep, mountLowerings } from './steps/mount.ts';
import type { Pipe } from './steps/pipe.ts';
import { type ProcessStep, processLowerings } from './steps/process.ts';
import { type SecurityStep, securityLowerings } from './steps/security.ts';
import { type StandardStreamStep, standardStreamLowerings } from './steps/standard-streams.ts';
import { type SupervisionStep, supervisionLowerings } from './steps/supervision.ts';
import { VariableTexts } from './variable-texts.ts';

/** One intent in the setup of a process. The union is discriminated by `op`. */
export type Step = ProcessStep | StandardStreamStep | MountStep | DetachedMountStep | SecurityStep | SupervisionStep;

/** A table of functions, one per `op`: a step that nothing lowers is a type error. */
export type Lowerings<S extends { op: string }> = {
  readonly [Op in S['op']]: (step: Extract<S, { op: Op }>, to: Lowering) => void;
};

const lowerings: Lowerings<Step> = {
  ...processLowerings,
  ...standardStreamLowerings,
  ...mountLowerings,
  ...detachedMountLowerings,
  ...securityLowerings,
  ...supervisionLowerings,
};

/** Which descriptors a launch hands to the stage. */
export interface FdLayout {
  /** How many become descriptors 3 and up of the payload. */
  readonly extra: number;
  /** Names by which steps refer to the others. */
  readonly named: readonly string[];
}

const CLOSE_RANGE_CLOEXEC = 4; // <linux/close_range.h>, since 5.11

/** The stage finds its program here (stage/stage.c). */
export const PROGRAM_FD = 3;

/** A step with its depth in the tree, in the order of execution. */
export interface NumberedStep {
  readonly step: Step;
  readonly depth: number;
}

/** Turns steps into instructions and remembers which came from which. */
export class Lowering {
  readonly asm: Assembler;
  readonly layout: FdLayout;
  readonly steps: NumberedStep[] = [];
  /** Which of the variables the process receives, piece by piece; known when finished. */
  texts: readonly number[] = [];
  /** By which the process that is lowered, or who goes on in its place, hears that its ids are mapped. */
  mapped: Pipe | undefined;
  readonly #handles = new Map<string, Slot>();
  readonly #variables: VariableTexts | undefined;
  #depth = 0;

  /** @param options.variables - texts that the process receives from its launch, for those that stand in the steps */
  constructor(
    layout: FdLayout,
    options: { arch?: string; trace?: boolean; base?: number; variables?: readonly string[] } = {},
  ) {
    const { variables = [] } = options;
    this.asm = new Assembler(options);
    this.layout = layout;
    if (variables.length > 0) this.#variables = new VariableTexts(this.asm, this.statusFd, variables);
    // The dup2 of posix_spawn took close-on-exec away. A payload that held the status socket could forge its own end.
    this.asm.call('close_range', [this.statusFd, 0xffffffff, CLOSE_RANGE_CLOEXEC]);
  }

  /** Number in the stage of the payload's n-th extra descriptor, before it is moved to 3 + n. */
  extraFd(index: number): number {
    return PROGRAM_FD + 1 + index;
  }

  /** The status socket: after the program and the payload's own descriptors. */
  get statusFd(): number {
    return this.extraFd(this.layout.extra);
  }

  /** A pipe that execve closes: well above those the launch hands over and those a supervisor opens first. */
  get witnessFd(): number {
    return this.statusFd + this.layout.named.length + 32;
  }

  /** Of a pipe by which a monitor hears of the process that goes on in the place of its child. */
  get successionFd(): number {
    return this.witnessFd + 1;
  }

  /** Number in the stage of a named descriptor. */
  fd(name: string): number {
    const index = this.layout.named.indexOf(name);
    if (index < 0) throw new SpecError('fds', `a descriptor named ${name}, to which a step refers`, this.layout.named);
    return this.statusFd + 1 + index;
  }

  /** A variable shared between steps: a descriptor that one step opens and later ones use. */
  handle(name: string): Slot {
    let slot = this.#handles.get(name);
    if (!slot) {
      slot = this.asm.slot(-1);
      this.#handles.set(name, slot);
    }
    return slot;
  }

  lower(steps: readonly Step[]): void {
    for (const step of steps) {
      if (!Object.hasOwn(lowerings, step.op))
        throw new SpecError('step.op', `one of ${Object.keys(lowerings).join(', ')}`, step.op);
      this.asm.beginStep(this.steps.length);
      this.steps.push({ step, depth: this.#depth });
      (lowerings[step.op] as (step: Step, to: Lowering) => void)(step, this);
    }
  }

  /** Lowers the steps of a child process; what follows belongs to the surrounding step again. */
  lowerChild(steps: readonly Step[]): void {
    const surrounding = this.steps.length - 1;
    this.#depth++;
    this.lower(steps);
    this.#depth--;
    this.asm.beginStep(surrounding);
  }

  finish(): Program {
    if (this.#variables) this.texts = this.#variables.place();
    return this.asm.finish(this.statusFd);
  }
}

/** The bytes of a program for one launch. */
export function assembleProgram(steps: readonly Step[], layout: FdLayout): Buffer {
  const lowering = new Lowering(layout);
  lowering.lower(steps);
  return lowering.finish().bytes;
}
