import { ArchiveError } from './archive-error.ts';
import { isDirectory, isRegular } from './file-type.ts';
import type { LayerEntry } from './walk-layer.ts';
import { overlayXattr } from './whiteouts.ts';

const hint =
  'Mount with redirectDir nofollow and metacopy false (the defaults here), or mount it and use diffTrees or treeStream';

/**
 * That all of a file is in its layer. Mounted with redirect_dir=on or metacopy=on, a layer holds references into the ones below.
 *
 * @throws ArchiveError ERR_NS_UNREPRESENTABLE
 */
export function assertSelfContained({ path, name, dirFd, stat, whiteout }: LayerEntry): void {
  if (whiteout) return;
  if (isDirectory(stat) && overlayXattr(dirFd, name, 'redirect') !== undefined) {
    throw new ArchiveError(
      'ERR_NS_UNREPRESENTABLE',
      'a renamed directory whose content is in a lower layer (redirect_dir)',
      { path, hint },
    );
  }
  if (isRegular(stat) && overlayXattr(dirFd, name, 'metacopy') !== undefined) {
    throw new ArchiveError('ERR_NS_UNREPRESENTABLE', 'a file whose content is in a lower layer (metacopy)', {
      path,
      hint,
    });
  }
}
