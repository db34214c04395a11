import type { NetNamespace, NetNamespacePool } from '@ns/netns';

/*
 * Making the namespace is a third of what a container's network takes. While a process has a network open, the one of its
 * next container is made in a quiet moment.
 */

// A container that is just being started is not to wait for the namespace of the next.
const QUIET_MS = 20;

let pool: NetNamespacePool | undefined;
let users = 0;

/** A network is open. */
export async function keepNamespaceReady(): Promise<void> {
  if (++users > 1) return;
  const { NetNamespacePool } = await import('@ns/netns');
  if (users > 0) pool ??= NetNamespacePool.create({ size: 1, quietMs: QUIET_MS });
}

/** It was closed. */
export function releaseReadyNamespace(): void {
  if (--users > 0) return;
  pool?.close();
  pool = undefined;
}

/** A new network namespace, made ahead of time if there is one. */
export async function takeNamespace(): Promise<NetNamespace> {
  if (pool) return pool.take();
  const { NetNamespace } = await import('@ns/netns');
  return NetNamespace.create({ newLinks: 'silent' });
}
