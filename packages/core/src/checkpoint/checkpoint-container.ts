import type { ContainerLife } from '../container-life.ts';
import type { RunHandle } from '../run-handle.ts';
import type { ContainerSpec } from '../types.ts';
import { type Criu, checkpointUnavailable, findCriu, keepsNoNewPrivileges } from './criu.ts';
import { type DumpOptions, dumpContainer } from './dump.ts';
import { checkCheckpointable } from './obstacles.ts';
import { Restoration } from './restoration.ts';

/**
 * Writes a container down, if it can be, and ends it, if it shall be.
 *
 * @throws UnavailableError, CheckpointError
 * @throws NsError `ERR_NS_NOT_CHECKPOINTABLE`, `ERR_NS_CHECKPOINT_EXISTS`, `ERR_NS_CHECKPOINT_UNSAFE`
 */
export async function checkpointContainer(life: ContainerLife, options: DumpOptions): Promise<void> {
  await life.exclusive(async () => {
    const run = life.running('checkpoint it');
    const { spec } = life;
    using held = life.holdOverlays();
    const { overlays } = held;
    checkCheckpointable(spec);
    const criu = await findCriu();
    checkCgroups(run);
    checkPrivileges(criu, spec);
    await dumpContainer(criu, { spec, run, overlays, beforeEnd: () => life.holdBack() }, options);
  });
  if (!options.leaveRunning) await life.end(life.run!);
}

/**
 * On v1 what a container sees of its cgroups is a directory full of mounts, mounted read-only over itself: CRIU would
 * restore the copies as they are outside, which is writable.
 */
function checkCgroups({ cgroup }: RunHandle): void {
  if (!cgroup || cgroup.host.mode === 'v2') return;
  throw checkpointUnavailable(
    'with cgroup v1 a restored container could write to its cgroups',
    'Boot with systemd.unified_cgroup_hierarchy=1 (cgroup v2)',
  );
}

/** What every process of a container has is restored in any case; what one took for itself, such a CRIU would take away. */
function checkPrivileges(criu: Criu, { privileged = false, noNewPrivileges = !privileged }: ContainerSpec): void {
  if (noNewPrivileges || keepsNoNewPrivileges(criu)) return;
  throw checkpointUnavailable(
    `CRIU ${criu.version} forgets the no_new_privs of processes, and this container does not have it from the start`,
    'Install CRIU 3.19 or newer, or leave noNewPrivileges on',
  );
}

/**
 * A checkpoint to begin with.
 *
 * @throws UnavailableError
 * @throws NsError `ERR_NS_CHECKPOINT_NOT_FOUND`
 */
export async function openCheckpoint(directory: string): Promise<Restoration> {
  return Restoration.open(await findCriu(), directory);
}

/** Makes the container of a checkpoint, with processes that are somewhere in the middle. Leaves nothing when it fails. */
export async function restoreContainer(life: ContainerLife, restoration: Restoration): Promise<void> {
  await life.create({ files: restoration.files, restoration });
  await life.begin();
}
