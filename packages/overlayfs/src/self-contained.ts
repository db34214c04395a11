import { ArchiveError } from './archive-error.ts';
import type { FileType } from './file-type.ts';
import { overlayPrefixes } from './xattr-names.ts';

const hint =
  'Mount with redirectDir nofollow and metacopy false (the defaults here), or mount it and use diffTrees or treeStream';

/** What overlayfs puts on a file whose rest is in a lower layer, by the type of file. */
const references: Readonly<Partial<Record<FileType, { readonly key: string; readonly why: string }>>> = {
  directory: { key: 'redirect', why: 'a renamed directory whose content is in a lower layer (redirect_dir)' },
  file: { key: 'metacopy', why: 'a file whose content is in a lower layer (metacopy)' },
};

/**
 * That all of a file is in its layer. Mounted with redirect_dir=on or metacopy=on, a layer holds references into the ones below.
 *
 * @param attributes - names of those it has
 * @throws ArchiveError ERR_NS_UNREPRESENTABLE
 */
export function assertSelfContained(path: string, type: FileType, attributes: readonly string[]): void {
  const reference = attributes.length === 0 ? undefined : references[type];
  if (reference && overlayPrefixes.some((prefix) => attributes.includes(prefix + reference.key)))
    throw new ArchiveError('ERR_NS_UNREPRESENTABLE', reference.why, { path, hint });
}
