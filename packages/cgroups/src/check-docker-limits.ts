import { SpecError } from '@ns/libc';
import { type DockerLimits, fromDockerLimits } from './docker-limits.ts';
import { inDockersWords } from './docker-words.ts';
import { parseLimits } from './limits.ts';

/**
 * Checks limits in Docker's words before anything is made. No privileges; it touches a file system only for a device
 * that is named by a path.
 *
 * @param field - where the limits stand, for messages
 * @throws SpecError `ERR_NS_INVALID_SPEC` whose `field` is the one the caller wrote, `limits.cpus`
 *
 * @example
 * ```ts
 * checkDockerLimits({ cpus: -1 }); // SpecError: limits.cpus: expected a number of cpus from 0.01 on, received -1
 * ```
 */
export function checkDockerLimits(limits: DockerLimits, field = 'limits'): void {
  const { cpus } = limits as { readonly cpus?: unknown };
  // An object is the other vocabulary's way to say quota and period.
  if (cpus !== undefined && cpus !== 'max' && typeof cpus !== 'number')
    throw new SpecError(`${field}.cpus`, 'a number of cpus from 0.01 on', cpus);
  try {
    parseLimits(fromDockerLimits(limits, field), field);
  } catch (error) {
    throw inDockersWords(error, limits, field);
  }
}
