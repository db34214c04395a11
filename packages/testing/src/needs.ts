import { slowness } from './slowness.ts';

type Test = (name: string, body: () => void | Promise<void>, timeoutMs?: number) => void;
declare const test: Test & { skip: Test };

/**
 * The `test` function of the runner when nothing is missing; otherwise one that skips and says why in the test's name.
 *
 * With `MUST_WORK=1` a skip fails, except for reasons that match a line of `NS_ALLOWED_SKIPS` (separated by `|`): what that machine's kernel is known to lack.
 *
 * @param missing - why the test cannot run here, or `undefined` when it can
 */
export function needs(missing: string | undefined): Test {
  if (missing === undefined) return patientTest;
  const allowed = (process.env.NS_ALLOWED_SKIPS ?? '').split('|').filter(Boolean);
  if (process.env.MUST_WORK === '1' && !allowed.some((reason) => missing.includes(reason))) {
    return (name) =>
      test(name, () => {
        throw new Error(`skipped with MUST_WORK=1: ${missing}`);
      });
  }
  return (name, body, timeoutMs) => test.skip(`${name} (skipped: ${missing})`, body, timeoutMs);
}

/** A limit that a test sets itself is one for hardware. */
function patientTest(name: string, body: () => void | Promise<void>, timeoutMs?: number): void {
  test(name, body, timeoutMs && timeoutMs * slowness);
}

/** Why root tests cannot run, or `undefined`. */
export const notRoot: string | undefined = process.geteuid?.() === 0 ? undefined : 'not root';
