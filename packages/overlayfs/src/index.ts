export { type AppliedChanges, type ApplyChangesOptions, applyChanges } from './apply-changes.ts';
export { type AppliedLayer, type ApplyLayerOptions, applyLayer } from './apply-layer.ts';
export { ArchiveError, type ArchiveErrorCode } from './archive-error.ts';
export { BtrfsDriver } from './btrfs-driver.ts';
export type { Change, DeletedChange, FileSummary, PresentChange } from './change.ts';
export { ChangeStream } from './change-stream.ts';
export { commit } from './commit.ts';
export type { Comparison } from './compare-files.ts';
export { convertWhiteouts, type WhiteoutNotation } from './convert-whiteouts.ts';
export type { CopyTally } from './copy-into.ts';
export { type CopiedTree, type CopyTreeOptions, copyTree } from './copy-tree.ts';
export { type DiffLayerOptions, diffLayer } from './diff-layer.ts';
export { type DiffTreesOptions, diffTrees } from './diff-trees.ts';
export type { DirectoryPlace } from './directory-place.ts';
export { discard } from './discard.ts';
export type { CopyMethod } from './file-copier.ts';
export type { OwnershipPolicy, PrivilegePolicy, Skipped } from './file-metadata.ts';
export type { FileType } from './file-type.ts';
export { FuseOverlayfsDriver } from './fuse-overlayfs-driver.ts';
export { type CommitOptions, LayerStore, type StoredLayer } from './layer-store.ts';
export type { WhiteoutTarget } from './layer-unpacker.ts';
export { createOverlay, MAX_LOWER_LAYERS, type MountOverlayOptions, mountOverlay } from './mount-overlay.ts';
export { OverlayDriver } from './overlay-driver.ts';
export { OverlayMount } from './overlay-mount.ts';
export { type OverlayOptions, type OverlayParameter, overlayParameters } from './overlay-options.ts';
export type { Owner } from './owner.ts';
export {
  createSizedDirectory,
  openSizedDirectory,
  type SizedDirectory,
  type SizedDirectoryOptions,
  type SizeMethod,
} from './sized-directory.ts';
export { type Fork, forkUpper, snapshot } from './snapshot.ts';
export type { StorageDriver, StorageDriverName, WritableRoot, WritableRootSpec } from './storage-driver.ts';
export { diffStream, stackStream, type TarOptions, treeStream } from './tar-stream.ts';
export { UnsafePathError } from './unsafe-path-error.ts';
export { flatten, VfsDriver } from './vfs-driver.ts';
export { type Volume, type VolumeRemains, type VolumeStatus, VolumeStore } from './volume-store.ts';
export type { StackedLayer } from './walk-stack.ts';
export type { WhiteoutForm } from './whiteouts.ts';
