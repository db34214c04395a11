import type { FdLayout, Step } from './lowering.ts';
import { PreparedProgram } from './prepared-program.ts';

/* Services start the same container again and again. What was assembled once is compared with what is wanted, which
   takes a tenth of the time, and given its new names. */

const KEPT_PROGRAMS = 8;
const KEPT_BYTES = 2 ** 18;
const recentPrograms: PreparedProgram[] = [];

/**
 * A program for steps like these.
 *
 * @param variables - texts by which launches of the same steps differ, the longest first
 */
export function recentProgram(steps: readonly Step[], layout: FdLayout, variables: readonly string[]): PreparedProgram {
  const index = recentPrograms.findIndex((program) => program.isOf(steps, layout, variables));
  const program =
    index >= 0
      ? recentPrograms.splice(index, 1)[0]!
      : new PreparedProgram(steps, { fds: layout.named, extraFds: layout.extra, variables });
  if (program.bytes.length <= KEPT_BYTES) recentPrograms.unshift(program);
  recentPrograms.splice(KEPT_PROGRAMS);
  return program;
}
