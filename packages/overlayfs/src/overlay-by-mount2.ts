import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MNT_DETACH, mount, O, type OwnedFd, open, ResourceStack, UnavailableError, umount } from '@ns/libc';
import { cloneMount } from '@ns/mounts';
import type { DirectoryPlace } from './directory-place.ts';
import type { OverlayParameter } from './overlay-options.ts';

/** mount(2) copies one page of data. */
const MAX_DATA = 4095;

/** What {@link overlayByMount2} mounts. */
export interface Mount2Overlay {
  readonly source: string;
  readonly layers: readonly DirectoryPlace[];
  readonly upper: DirectoryPlace | undefined;
  readonly work: DirectoryPlace | undefined;
  readonly parameters: readonly OverlayParameter[];
  /** MS_* */
  readonly flags: number;
}

/**
 * The overlay for kernels before 6.8, where all layers must fit in one page: each is named by the path of a descriptor,
 * which is short and has no character that would need escaping. mount(2) needs a place; the mount is taken from it again at
 * once, and everybody gets a detached one as from the new API.
 */
export function overlayByMount2({ source, layers, upper, work, parameters, flags }: Mount2Overlay): OwnedFd {
  using held = new ResourceStack();
  const short = (place: DirectoryPlace): string =>
    (typeof place === 'string' ? held.use(open(place, O.PATH | O.DIRECTORY)) : place).procPath;
  const data = [
    `lowerdir=${layers.map(short).join(':')}`,
    ...(upper === undefined ? [] : [`upperdir=${short(upper)}`]),
    ...(work === undefined ? [] : [`workdir=${short(work)}`]),
    ...parameters.map(({ key, value }) => (value === undefined ? key : `${key}=${value}`)),
  ].join(',');
  if (data.length > MAX_DATA) {
    throw new UnavailableError(
      `an overlay of ${layers.length} layers`,
      'this kernel takes all layers in one page and has no lowerdir+',
      'Use Linux 6.8 or later, or merge layers with applyLayer',
    );
  }
  const place = mkdtempSync(join(tmpdir(), 'overlay-'));
  try {
    mount(source, place, 'overlay', flags, data);
    try {
      return cloneMount(place);
    } finally {
      umount(place, MNT_DETACH);
    }
  } finally {
    rmdirSync(place);
  }
}
