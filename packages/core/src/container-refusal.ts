import type { ContainerStatus } from './container-state.ts';
import { ContainerStateError } from './errors.ts';

/** What a refusal says, and why. */
interface Refusing {
  readonly id: string;
  readonly status: ContainerStatus;
  /** Another process made it. */
  readonly isFound: boolean;
  /** That process is there. */
  readonly makerLives: boolean;
}

/** Why something cannot be done with a container as it is, or as it will be known to be in a moment. */
export function refusal(
  container: Refusing,
  code: `ERR_NS_CONTAINER_${string}`,
  { wanted, hint, status = container.status }: { wanted: string; hint?: string | undefined; status?: ContainerStatus },
): ContainerStateError {
  return new ContainerStateError(code, container.id.slice(0, 12), status, wanted, hintOfFound(container, code) ?? hint);
}

/** What only its maker can do is no advice to others, and to nobody when that is gone. */
function hintOfFound(container: Refusing, code: string): string | undefined {
  if (!container.isFound || container.status === 'removed' || !takesItsMaker.has(code)) return undefined;
  return container.makerLives ? onlyItsMaker : makerIsGone;
}

/** To start it, and to know its layers. */
const takesItsMaker: ReadonlySet<string> = new Set([
  'ERR_NS_CONTAINER_NOT_OURS',
  'ERR_NS_CONTAINER_NOT_RUNNING',
  'ERR_NS_CONTAINER_STOPPED',
]);
const onlyItsMaker = 'Only the process that made it can start it, and look at what it changed';
const makerIsGone =
  'The process that made it is gone, and no other can start it or look at what it changed: read its logs, copy out of it while it runs, remove it, or create another';
