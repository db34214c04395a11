import type { RefusedConnection } from '@ns/netns';
import type { CgroupWatchEvent } from './cgroup-watch.ts';
import type { Result } from './result.ts';
import type { SupervisionEvent } from './supervision.ts';

/** Something that happened to a container. */
export type ContainerEvent =
  | { readonly type: 'start'; readonly pid: number }
  | { readonly type: 'exit'; readonly result: Result }
  | CgroupWatchEvent
  | { readonly type: 'pause' | 'resume' | 'remove' }
  /** The egress policy refused a connection. */
  | ({ readonly type: 'egress' } & RefusedConnection)
  | SupervisionEvent;

/** What can be listened to. */
export const containerEventTypes: readonly string[] = Object.keys({
  start: true,
  exit: true,
  oom: true,
  pressure: true,
  pause: true,
  resume: true,
  remove: true,
  egress: true,
  health: true,
  restart: true,
  'restart-failed': true,
} satisfies Record<ContainerEvent['type'], true>);
