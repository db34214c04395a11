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
