import { SpecError } from '@ns/libc';
import type { NetworkAttachment } from './network-spec.ts';

/**
 * A refused address is that of the field in which the user wrote it.
 *
 * @param before - what stands before the attachment's own fields
 */
export function asWritten(error: unknown, attachment: NetworkAttachment, before: string): unknown {
  if (!(error instanceof SpecError)) return error;
  const key = (['ip', 'ip6'] as const).find((name) => attachment[name] === error.received);
  return key === undefined ? error : error.at(`${before}${key}`);
}
