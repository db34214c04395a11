import { SpecError } from '@ns/libc';

/**
 * Accepts names that mean the same in profile text, in attribute files and on a command line.
 *
 * @throws SpecError for anything else: a quote or a line break would end the name and begin a rule
 */
export function checkProfileName(name: unknown, field: string): asserts name is string {
  if (typeof name !== 'string' || !/^[\w.@%+:/-][\w.@%+:/&-]{0,253}$/.test(name)) {
    throw new SpecError(field, 'a profile name of letters, digits and ._-@%+:/ (at most 254)', name);
  }
}
