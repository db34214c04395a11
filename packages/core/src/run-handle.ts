import type { Cgroup } from '@ns/cgroups';
import type { Launched, StandardStreams } from '@ns/launch';
import type { IdLease } from '@ns/namespaces';
import type { CarriedOutPlan } from './container-launch.ts';
import type { ExecCgroups } from './exec-cgroups.ts';
import type { ContainerDesign } from './plan/container-plan.ts';
import type { Result } from './result.ts';

/** The processes of a run, launched by us or by somebody else. */
export type RunProcess = Pick<
  Launched,
  'monitorPid' | 'pid' | 'pidfd' | 'namespaces' | 'executed' | 'signal' | 'kill' | 'ref' | 'unref'
>;

/** One run of a container, as its {@link Container} needs it: one that we began, or one that we found. */
export interface RunHandle {
  readonly launched: RunProcess;
  readonly design: ContainerDesign;
  /** What was done to start it; undefined when somebody else did. */
  readonly plan: CarriedOutPlan | undefined;
  readonly streams: StandardStreams;
  readonly cgroup: Cgroup | undefined;
  /** Those of its commands. */
  readonly execCgroups: ExecCgroups | undefined;
  /** Host ids that are its alone. */
  readonly ids: Pick<IdLease, 'uids' | 'gids'> | undefined;
  /** Settles when no process is left and what belonged to them is given back. Never rejects. */
  readonly ended: Promise<void>;
  /** How it ended: of one that we found, when its maker has said so. */
  readonly result: Promise<Result>;
  /** Lets its program begin. Only of one that we began ourselves. */
  go(): void;
  /** Disposed of when the run has ended. */
  hold(resource: AsyncDisposable): void;
  /** Nothing is asked of it any more. */
  letGo(): void;
}
