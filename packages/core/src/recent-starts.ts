import { type Exit, launch, PreparedProgram, type StandardStreams } from '@ns/launch';
import { ResourceStack, stateRoot } from '@ns/libc';
import { readAccounts } from './container-cgroup.ts';
import { leftoversOf } from './container-launch.ts';
import type { Running } from './container-process.ts';
import { designContainer } from './design.ts';
import { type Host, type HostFile, isUnchanged, readHost } from './host.ts';
import { containerPlan } from './plan/container-plan.ts';
import { needsResources } from './resources.ts';
import type { ContainerSpec, RunOptions } from './types.ts';

/* Services run the same command in the same container again and again. Deciding, planning and assembling take half a
   millisecond of this thread each time; telling that all of it would come out the same takes a tenth of that. */

interface RecentStart {
  readonly program: PreparedProgram;
  readonly warnings: Running['warnings'];
  /** What the plan was made from besides the specification. */
  readonly stateRoot: string;
  readonly dataMounts: Host['dataMounts'];
  readonly files: ReadonlyMap<string, HostFile | undefined>;
  lookedAt: number;
}

const KEPT = 8;
const LOOK_AGAIN_MS = 1000;
const recent = new Map<string, RecentStart>();
/** Of specifications that are one object in several starts; null for one that does not say all. */
const keys = new WeakMap<ContainerSpec, string | null>();

/** Options that a plan depends on and that say all by themselves: with others, files, leases or descriptors would be looked at. */
const decisive: ReadonlySet<string> = new Set<keyof ContainerSpec>([
  'command',
  'env',
  'cwd',
  'hostname',
  'domainname',
  'umask',
  'init',
  'rootfs',
  'writable',
  'rlimits',
  'ulimits',
  'sysctls',
  'oomScoreAdj',
  'shmSize',
  'capabilities',
  'noNewPrivileges',
  'privileged',
  'seccomp',
  'maskedPaths',
  'readonlyPaths',
  'timeout',
  'lifetime',
]);

/** Options that no plan depends on; of `stdin` only whether it is 'null'. */
const indifferent: ReadonlySet<string> = new Set<keyof RunOptions>([
  'stdin',
  'labels',
  'stopSignal',
  'maxOutput',
  'signal',
  'check',
  'encoding',
  'buffer',
]);

/**
 * Starts a container like one that was started before.
 *
 * @returns undefined for a specification of which that cannot be said without looking further
 */
export function startAsBefore(spec: ContainerSpec, id: string, streams: StandardStreams): Running | undefined {
  let key = keys.get(spec);
  if (key === undefined) {
    key = keyOf(spec);
    keys.set(spec, key);
  }
  if (key === null || process.geteuid!() !== 0) return undefined;
  const host = readHost();
  const variables = [id, id.slice(0, 12)];
  const known = recent.get(key);
  const start = ({ program, warnings }: Pick<RecentStart, 'program' | 'warnings'>) => ({
    launched: launch({ steps: program, stdio: streams, variables }),
    warnings,
    finish: readUsage,
  });
  if (known && isStillTrue(known, host)) return start(known);

  if (needsResources(spec)) return undefined;
  const files = new Map<string, HostFile | undefined>();
  const observed: Host = {
    ...host,
    stat(path) {
      const file = host.stat(path);
      files.set(path, file);
      return file;
    },
  };
  const lookedAt = performance.now();
  const prepared = prepare(spec, id, observed, variables);
  if (!prepared) return undefined;
  recent.delete(key);
  recent.set(key, { ...prepared, stateRoot: stateRoot(), dataMounts: host.dataMounts, files, lookedAt });
  for (const oldest of recent.keys()) {
    if (recent.size <= KEPT) break;
    recent.delete(oldest);
  }
  return start(prepared);
}

function prepare(
  spec: ContainerSpec,
  id: string,
  host: Host,
  variables: readonly string[],
): Pick<RecentStart, 'program' | 'warnings'> | undefined {
  using owner = new ResourceStack();
  const fds: Record<string, number> = {};
  const noInput = spec.stdin === 'null';
  const design = designContainer(
    spec,
    {
      id,
      park: false,
      scratch: { reuse: false, covered: false, handOver: false },
      nullFds: noInput ? [0] : [],
      pipeFds: noInput ? [1, 2] : [0, 1, 2],
      ids: undefined,
      leftovers: leftoversOf({ id }, spec),
      journal: false,
      loadProfiles: true,
      owner,
      fds,
    },
    host,
  );
  // Descriptors belong to one start; a label means what the kernel has loaded under its name; and what could not be had
  // this time may be there the next.
  const { execLabel, initLabel, warnings } = design;
  if (Object.keys(fds).length > 0 || execLabel || initLabel || warnings.length > 0) return undefined;
  return { program: new PreparedProgram(containerPlan(design, host), { variables }), warnings };
}

function isStillTrue(known: RecentStart, host: Host): boolean {
  if (known.dataMounts !== host.dataMounts) return false;
  const now = performance.now();
  if (now - known.lookedAt < LOOK_AGAIN_MS) return true;
  known.lookedAt = now;
  return known.stateRoot === stateRoot() && isUnchanged(known.files);
}

/** There is no cgroup to ask. */
const readUsage = (exit: Exit) => readAccounts(exit, undefined);

/** Equal texts mean equal plans. */
function keyOf(spec: ContainerSpec): string | null {
  const { rootfs, writable, seccomp, privileged } = spec;
  // It has the devices that there are.
  if (privileged) return null;
  // Other roots have files that a plan depends on.
  if (rootfs !== undefined && (typeof rootfs === 'string' || !('host' in rootfs))) return null;
  // What somebody wants hidden is looked for at each start: it may have been made this moment.
  if (rootfs?.hide?.length) return null;
  if (typeof writable === 'object' && !('tmpfs' in writable)) return null;
  if (seccomp !== undefined && seccomp !== 'default' && seccomp !== 'strict' && seccomp !== 'unconfined') return null;
  const told: unknown[] = [spec.stdin === 'null'];
  for (const [name, value] of Object.entries(spec)) {
    if (value === undefined || indifferent.has(name)) continue;
    if (!decisive.has(name)) return null;
    told.push(name, value);
  }
  return JSON.stringify(told, (_, value: unknown) => (typeof value === 'number' ? String(value) : value));
}
