import type { ContainerSpec, RunOptions } from './types.ts';
import { validateRun } from './validate-spec.ts';
import { withoutUndefined } from './without-undefined.ts';

/* Services run the same command with the same options again and again. What was found right once need not be checked
   again; and what was concluded from a specification is known by the object. */

type RunSpec = RunOptions & ContainerSpec;

const KEPT = 8;
/** The latest first. */
const recent: { readonly given: object; readonly spec: RunSpec }[] = [];

/**
 * As `validateRun`.
 *
 * @returns the same object for options that are the same as those of a run before
 */
export function validateRunOnce(options: RunSpec): RunSpec {
  const given = Object.values(options).includes(undefined) ? (withoutUndefined(options) as RunSpec) : options;
  const index = recent.findIndex((one) => isSame(one.given, given));
  if (index > 0) recent.unshift(...recent.splice(index, 1));
  if (index >= 0) return recent[0]!.spec;
  const copy = plainCopy(given);
  const spec = validateRun(copy ?? given);
  if (copy) recent.unshift({ given: copy, spec });
  recent.splice(KEPT);
  return spec;
}

/** A copy, which the caller does not change: of plain data, and of nothing that belongs to one run. */
function plainCopy(given: RunSpec): RunSpec | undefined {
  const { stdin = 'null', signal } = given;
  if (signal !== undefined || (stdin !== 'null' && stdin !== 'pipe')) return undefined;
  try {
    const copy = JSON.parse(JSON.stringify(given)) as RunSpec;
    return isSame(copy, given) ? copy : undefined;
  } catch {
    return undefined;
  }
}

/** Deep equality of plain data. A third of the time of `isDeepStrictEqual`, which knows of more; the order of keys counts. */
function isSame(plain: unknown, other: unknown): boolean {
  if (Object.is(plain, other)) return true;
  if (typeof plain !== 'object' || typeof other !== 'object' || !plain || !other) return false;
  if (Object.getPrototypeOf(plain) !== Object.getPrototypeOf(other)) return false;
  const [names, others] = [Object.keys(plain), Object.keys(other)];
  if (names.length !== others.length) return false;
  const [a, b] = [plain, other] as Record<string, unknown>[];
  return names.every((name, i) => name === others[i] && isSame(a![name], b![name]));
}
