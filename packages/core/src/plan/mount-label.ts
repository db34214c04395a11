import type { Step } from '@ns/launch';

const labelledTypes: ReadonlySet<string> = new Set(['tmpfs', 'devpts']);

/**
 * Gives the files of the file systems that are made for a container its SELinux label, as mounts have it: `context`. procfs,
 * sysfs and message queues have the kernel's labels, and what is bound from outside keeps its own.
 */
export function withMountLabel(steps: readonly Step[], context: string | undefined): readonly Step[] {
  if (context === undefined) return steps;
  return steps.map((step) => withLabel(step, context));
}

function withLabel<S extends Step>(step: S, context: string): S {
  switch (step.op) {
    case 'mountOverlay':
      return {
        ...step,
        options: { ...step.options, context },
        ...(step.instead && { instead: withLabel(step.instead, context) }),
      };
    case 'mountDev':
      return { ...step, options: { ...step.options, context } };
    case 'mount':
      return labelledTypes.has(step.type) ? { ...step, options: { ...step.options, context } } : step;
    default:
      return step;
  }
}
