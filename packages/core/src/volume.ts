import { entrust } from '@ns/launch';
import { NsError, ownTurn, stateDirectory } from '@ns/libc';
import type { VolumeStatus } from '@ns/overlayfs';
import { readStatesInTurns } from './container-state.ts';
import { newId } from './design.ts';
import { type Patience, patientlyInTurn, patientlyMade, splitPatience } from './patience.ts';
import { checkCall } from './validate-calls.ts';
import { validateVolume } from './validate-mounts.ts';
import { usersOf, volumeRoot, volumeStore } from './volume-store.ts';

/** What {@link Volume.create} makes. */
export interface VolumeOptions {
  /** Letters, digits, `_`, `.` and `-`, at most 128. Default: a random one. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** What is known of a volume. */
export interface VolumeInfo {
  readonly name: string;
  /** Its directory on the host. */
  readonly path: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: Date;
  /** Ids of containers that use it, or will when they are started again: until their removal. */
  readonly usedBy: readonly string[];
}

/**
 * A named directory that outlives containers: `mounts: [{ type: 'volume', source: name, target: '/data' }]`.
 *
 * Volumes are below `/var/lib/ns/volumes`, for an ordinary user below `$XDG_DATA_HOME/ns/volumes`, or with `NS_STATE_ROOT`
 * below that. What is mounted and does not exist is made; an empty one begins with what the image has at the mount's
 * target, owners included.
 *
 * @example
 * ```ts
 * const cache = await Volume.create({ name: 'npm-cache' });
 * await run('npm', ['ci'], { mounts: [{ type: 'volume', source: cache.name, target: '/root/.npm' }] });
 * await cache.remove();
 * ```
 */
export class Volume {
  readonly name: string;
  /** Its directory on the host. */
  readonly path: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: Date;

  private constructor({ name, path, labels, createdAt }: Pick<VolumeStatus, 'name' | 'path' | 'labels' | 'createdAt'>) {
    this.name = name;
    this.path = path;
    this.labels = labels;
    this.createdAt = new Date(createdAt);
  }

  /**
   * Makes an empty volume.
   *
   * @throws SpecError `ERR_NS_INVALID_SPEC`
   * @throws NsError `ERR_NS_VOLUME_EXISTS`
   * @throws UnavailableError this user has no directory for volumes
   */
  static async create(options: VolumeOptions = {}, patience: Patience = {}): Promise<Volume> {
    const { name = newId(), labels = {} } = validateVolume(options);
    const make = async () => {
      await ownTurn('making');
      stateDirectory(volumeRoot());
      return new Volume(await volumeStore().create({ name, labels, entrust }));
    };
    return patientlyMade('making a volume', checkCall('patience', patience), make, (volume) => volume.remove());
  }

  /** @throws NsError `ERR_NS_NO_SUCH_VOLUME` */
  static async get(name: string, patience: Patience = {}): Promise<Volume> {
    const find = async () => new Volume(await volumeStore().get(name));
    return patientlyInTurn('finding a volume', checkCall('patience', patience), find);
  }

  /**
   * All volumes, by name.
   *
   * @param patience - may as well stand beside the filter: `list({ labels, signal })`
   * @throws NsError `ERR_NS_TIMEOUT`, or the reason of `signal`: patience was lost
   */
  static async list(
    filter: { labels?: Readonly<Record<string, string>> } & Patience = {},
    patience: Patience = {},
  ): Promise<VolumeInfo[]> {
    const { patience: beside, rest } = splitPatience(filter);
    const limits = checkCall('patience', { ...beside, ...checkCall('patience', patience) });
    const wanted = Object.entries(checkCall('volumes', rest).labels ?? {});
    return patientlyInTurn('listing volumes', limits, async () => {
      const volumes = (await volumeStore().list()).filter(({ labels }) =>
        wanted.every(([key, value]) => labels[key] === value),
      );
      const states = await readStatesInTurns();
      const infos: VolumeInfo[] = [];
      for (const volume of volumes) {
        const { name, path, labels, createdAt } = volume;
        const usedBy = await usersOf(volumeStore(), volume, states);
        infos.push({ name, path, labels, createdAt: new Date(createdAt), usedBy });
      }
      return infos;
    });
  }

  /**
   * What is known of it, and who uses it now.
   *
   * @throws NsError `ERR_NS_NO_SUCH_VOLUME`: it was removed
   */
  async inspect(patience: Patience = {}): Promise<VolumeInfo> {
    const { name, path, labels, createdAt } = this;
    const usedBy = await patientlyInTurn('inspecting a volume', checkCall('patience', patience), () => this.#users());
    return { name, path, labels, createdAt, usedBy };
  }

  /**
   * Removes it with everything in it. Idempotent. Once begun it is carried through, also for somebody who lost patience.
   *
   * @throws NsError `ERR_NS_VOLUME_IN_USE`: a container has it mounted, or will when it is started again
   */
  async remove(patience: Patience = {}): Promise<void> {
    return patientlyInTurn('removing a volume', checkCall('patience', patience), async () => {
      // Those that died without a word do not hold it.
      const users = (await this.#users().catch(ignoreMissing)) ?? [];
      if (users.length > 0)
        throw new NsError(
          'ERR_NS_VOLUME_IN_USE',
          `the volume ${this.name} is used by ${users.map((id) => id.slice(0, 12)).join(', ')}`,
          { hint: 'Remove the containers that have it mounted first, those that are stopped, too' },
        );
      await volumeStore().remove(this.name);
    });
  }

  async #users(): Promise<string[]> {
    const store = volumeStore();
    return usersOf(store, await store.get(this.name), await readStatesInTurns());
  }
}

function ignoreMissing(error: { code?: string }): void {
  if (error.code !== 'ERR_NS_NO_SUCH_VOLUME') throw error;
}
