import type { RlimitName } from '@ns/launch';
import type { Host } from './host.ts';
import type { ContainerDesign } from './plan/container-plan.ts';
import type { ContainerSpec, Rlimit } from './types.ts';

/** Limits of every container: Node raised its own soft limit on descriptors at start, which its children would inherit. */
function defaultsOn({ openFilesLimit }: Pick<Host, 'openFilesLimit'>): Partial<Record<RlimitName, Rlimit>> {
  const hard = Math.min(524_288, openFilesLimit);
  return { nofile: { soft: Math.min(1024, hard), hard }, core: 0 };
}

/** Limits with both sides. Those asked for must be granted; defaults are as near as the caller's own limits allow. */
export function resolveRlimits(
  { rlimits, ulimits }: Pick<ContainerSpec, 'rlimits' | 'ulimits'>,
  host: Pick<Host, 'openFilesLimit'>,
): ContainerDesign['rlimits'] {
  const asked = { ...ulimits, ...rlimits };
  return Object.entries({ ...defaultsOn(host), ...asked }).flatMap(([name, limit]) => {
    if (limit === undefined) return [];
    const { soft, hard } = typeof limit === 'object' ? limit : { soft: limit, hard: limit };
    return [{ name: name as RlimitName, soft: toNumber(soft), hard: toNumber(hard), required: name in asked }];
  });
}

function toNumber(limit: number | 'unlimited'): number {
  return limit === 'unlimited' || limit === -1 ? Number.POSITIVE_INFINITY : limit;
}
