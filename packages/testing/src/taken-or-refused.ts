/**
 * Hands something over, whatever it is.
 *
 * @throws whatever the call throws but a SpecError that says in words what was expected: a TypeError or RangeError from
 * somewhere inside is a mistake of the callee
 */
export function takenOrRefused(call: () => unknown): void {
  try {
    call();
  } catch (error) {
    const { code, expected } = error as { code?: unknown; expected?: unknown };
    if (code !== 'ERR_NS_INVALID_SPEC' || !expected) throw error;
  }
}
