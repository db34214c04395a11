import { UnavailableError } from '@ns/libc';

interface Support {
  readonly available: boolean;
  readonly why?: string;
  readonly fix?: string;
}

/**
 * Refuses what was asked for by name and is not there.
 *
 * @throws UnavailableError
 */
export function requireModule(module: string, { available, why, fix }: Support): void {
  if (!available) throw new UnavailableError(module, why ?? 'it is off', fix ?? 'Enable it when the kernel is started');
}
