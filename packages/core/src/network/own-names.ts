import { canonicalName } from '@ns/netns';
import { readState } from '../container-state.ts';

/** What a container has names from. */
export interface Named {
  readonly hostname?: string | undefined;
  readonly name?: string | undefined;
}

/** What a container is called in its own /etc/hosts, the host name first. */
export function ownNames(id: string, { hostname, name }: Named): string[] {
  const short = id.slice(0, 12);
  return [...new Set([hostname ?? short, ...(name ? [name] : []), short])];
}

/** By which of them its networks know it. */
export function namesForOthers(id: string, named: Named): string[] {
  return ownNames(id, named).filter(isHostName);
}

/** Its name by now: another process may have renamed it. Until there is a state, that of its specification. */
export function nameNow(id: string, { name }: Named): string | undefined {
  return readState(id)?.name ?? name;
}

function isHostName(name: string): boolean {
  try {
    canonicalName(name);
    return true;
  } catch {
    return false;
  }
}
