import { type FdLayout, Lowering, type Step } from './lowering.ts';

/* Services start the same container again and again. What was assembled once is compared with what is wanted, which
   takes a tenth of the time, and given its new names. */

interface RecentProgram {
  /** A copy: the caller's may change. */
  readonly steps: readonly Step[];
  /** Of these steps. */
  readonly variables: readonly string[];
  readonly layout: FdLayout;
  readonly bytes: Buffer;
  /** Where in the bytes which variable stands. */
  readonly places: readonly { readonly at: number; readonly variable: number }[];
}

const KEPT_PROGRAMS = 8;
const KEPT_BYTES = 2 ** 18;
const recentPrograms: RecentProgram[] = [];

/**
 * The program of a list of steps: valid until the next call.
 *
 * @param variables - texts by which launches of the same steps differ, the longest first
 */
export function assembleProgram(steps: readonly Step[], layout: FdLayout, variables: readonly string[]): Buffer {
  const index = recentPrograms.findIndex((program) => isProgramOf(program, steps, layout, variables));
  if (index >= 0) {
    const [program] = recentPrograms.splice(index, 1) as [RecentProgram];
    recentPrograms.unshift(program);
    for (const { at, variable } of program.places) program.bytes.write(variables[variable]!, at);
    return program.bytes;
  }
  const lowering = new Lowering(layout);
  lowering.lower(steps);
  const { bytes } = lowering.finish();
  if (variables.length > 0 && bytes.length <= KEPT_BYTES) {
    recentPrograms.unshift({
      steps: structuredClone(steps),
      layout,
      bytes,
      places: findAll(bytes, variables),
      variables,
    });
    recentPrograms.splice(KEPT_PROGRAMS);
  }
  return bytes;
}

function isProgramOf(
  program: RecentProgram,
  steps: readonly Step[],
  layout: FdLayout,
  variables: readonly string[],
): boolean {
  if (program.variables.length !== variables.length) return false;
  if (program.variables.some((text, i) => text.length !== variables[i]!.length)) return false;
  const rename = (text: string) =>
    program.variables.reduce((renamed, old, i) => renamed.replaceAll(old, variables[i]!), text);
  return isSame(program.layout, layout, rename) && isSame(program.steps, steps, rename);
}

/** Deep equality after renaming. The order of keys counts: mount options are given to the kernel in that order. */
function isSame(known: unknown, wanted: unknown, rename: (text: string) => string): boolean {
  if (known === wanted) return true;
  if (typeof known === 'string') return known.length === (wanted as string | null)?.length && rename(known) === wanted;
  if (typeof known !== 'object' || typeof wanted !== 'object' || !known || !wanted) return false;
  if (known instanceof Uint8Array || wanted instanceof Uint8Array)
    return known instanceof Uint8Array && wanted instanceof Uint8Array && Buffer.compare(known, wanted) === 0;
  const [knownKeys, wantedKeys] = [Object.keys(known), Object.keys(wanted)];
  if (knownKeys.length !== wantedKeys.length) return false;
  for (let i = 0; i < knownKeys.length; i++) {
    const key = knownKeys[i]!;
    if (key !== wantedKeys[i]) return false;
    if (!isSame((known as Record<string, unknown>)[key], (wanted as Record<string, unknown>)[key], rename))
      return false;
  }
  return true;
}

/** Every place of every variable among the program's strings. */
function findAll(bytes: Buffer, variables: readonly string[]): { at: number; variable: number }[] {
  const places: { at: number; variable: number }[] = [];
  const taken = new Set<number>();
  variables.forEach((text, variable) => {
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + text.length)) {
      // A short id also begins the long one, which was first.
      if (taken.has(at)) continue;
      taken.add(at);
      places.push({ at, variable });
    }
  });
  return places;
}
