import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import { overlayDirectories, type Step } from '@ns/launch';
import { NsError, type OwnedFd, ResourceStack } from '@ns/libc';
import { type MapOwner, ownersInside } from './file-owners.ts';
import type { OpenedWrites } from './kept-writes.ts';
import type { ContainerDesign } from './plan/container-plan.ts';
import { isAssembled } from './plan/root-steps.ts';
import type { RunHandle } from './run-handle.ts';

/** One overlay of a container: where it is mounted, where its changes are, what lies below. */
export interface ContainerOverlay {
  readonly target: string;
  readonly upper: string;
  readonly work: string;
  readonly lower: readonly string[];
  readonly userxattr: boolean;
  /** Its upper in a scratch that begins with it. */
  readonly scratchName: string;
  /** It is in the scratch now: a mount that nobody but the container has. */
  readonly inScratch: boolean;
  /** It is one of several that the root is put together of. */
  readonly isPart: boolean;
  /** Nobody writes to it: it has the places of mounts, and nothing else. */
  readonly readonly: boolean;
  /** Owners as the container sees them, of those in `upper`; undefined when they are the same. */
  readonly inside: MapOwner | undefined;
  readonly idMaps: ContainerDesign['namespaces']['idMaps'];
  /** Owners in `lower` are those that the container sees. */
  readonly lowerInside: boolean;
  /** All its layers, topmost first, and how owners in each become those inside. */
  readonly layers: readonly { readonly directory: string; readonly mapOwner: MapOwner | undefined }[];
}

/**
 * The overlays of a plan, reachable from outside the container.
 *
 * @param places - where relative paths are: the scratch file system, and that of kept writes
 */
function overlaysOf(
  steps: readonly Step[],
  { root, namespaces }: Pick<ContainerDesign, 'root' | 'namespaces'>,
  places: { readonly scratch: string; readonly kept?: string | undefined },
): ContainerOverlay[] {
  const sources = new Map<string, string>();
  /** Layers of layers that are overlays themselves. */
  const stacked = new Map<string, readonly string[]>();
  if (places.kept !== undefined) sources.set('kept', places.kept);
  const inside = namespaces.idMaps && ownersInside(namespaces.idMaps);
  const lowerInside = (root.handles ?? []).length > 0;
  const here = (path: string): string => {
    if (path.startsWith('/')) return path;
    const [name = '', ...rest] = path.split('/');
    const source = sources.get(name);
    return source === undefined ? `${places.scratch}/${path}` : [source, ...rest].join('/');
  };
  const find = (list: readonly Step[]): ContainerOverlay[] =>
    list.flatMap((step) => {
      if (step.op === 'clone') return find(step.child);
      if (step.op === 'attachLayer' && !sources.has(step.name)) sources.set(step.name, step.source);
      if (step.op === 'mountOverlay' && step.layer !== undefined) stacked.set(step.layer, step.lower);
      if (step.op !== 'mountOverlay' || !step.upper) return [];
      const { upper, work } = overlayDirectories(step.upper);
      const below = step.lower.flatMap((path) => stacked.get(path) ?? [path]);
      const lower = below.map((path) => ({
        directory: here(path),
        // Layers with mapped ids have those inside on disk.
        mapOwner: path.startsWith('layer-') && lowerInside ? undefined : inside,
      }));
      return [
        {
          target: step.target,
          upper: here(upper),
          work: here(work),
          lower: lower.map(({ directory }) => directory),
          layers: [{ directory: here(upper), mapOwner: inside }, ...lower],
          userxattr: step.options.userxattr === true,
          scratchName: 'upper' in step.upper ? 'root' : basename(upper, '.upper'),
          inScratch: 'scratch' in step.upper,
          isPart: isAssembled(root, inside !== undefined),
          readonly: root.writable === 'none',
          inside,
          idMaps: namespaces.idMaps,
          lowerInside,
        },
      ];
    });
  return find(steps);
}

/**
 * The overlays of a container, which stay where they are said to be until this is disposed of: whoever removes it meanwhile, or
 * starts it again, would give the numbers of its descriptors, and with them these paths, to other files.
 */
export class HeldOverlays implements Disposable {
  readonly overlays: readonly ContainerOverlay[];
  readonly #held = new ResourceStack();

  constructor(
    { plan, design }: Pick<RunHandle, 'plan' | 'design'>,
    { scratch, kept }: { scratch: OwnedFd | undefined; kept: OpenedWrites | undefined },
  ) {
    this.overlays =
      plan && scratch
        ? overlaysOf(plan.steps, design, {
            scratch: this.#held.use(scratch.duplicate()).procPath,
            kept: kept?.mount ? this.#held.use(kept.mount.duplicate()).procPath : kept?.path,
          })
        : [];
  }

  /** Holds them for as long as somebody reads. */
  stream(make: (overlays: readonly ContainerOverlay[]) => Readable): Readable {
    const dispose = () => this[Symbol.dispose]();
    try {
      return make(this.overlays).once('close', dispose);
    } catch (error) {
      dispose();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}

/** Upper layers that another scratch begins with. */
export type FirstFiles = Pick<ContainerOverlay, 'upper' | 'scratchName' | 'readonly' | 'inside' | 'idMaps'>;

/** The one that all of a container's own writes to its root are in. */
export function rootOverlay(overlays: readonly ContainerOverlay[]): ContainerOverlay {
  const root = overlays.find(({ target, isPart }) => target === '/' && !isPart);
  if (root) return root;
  if (overlays.length > 0)
    throw new NsError('ERR_NS_NO_LAYER', 'in a user namespace a view of this machine has a layer for each directory', {
      hint: 'Copy and export while it runs; diff(), apply(), discard() and fork() know all layers. Or give a rootfs that is one directory',
    });
  throw new NsError('ERR_NS_NO_LAYER', 'what the container writes is in no layer of its own', {
    hint: "Let writes go to a layer: writable: 'tmpfs' or directories, and a root that is one overlay",
  });
}
