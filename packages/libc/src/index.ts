export * from './calls.ts';
export * from './constants.ts';
export { type DirectoryEntry, readDirectory } from './directory.ts';
export { withDirectoryLockSync } from './directory-lock.ts';
export { ERRNO, type ErrnoName, errnoMessage, errnoName, errnoNumber } from './errno.ts';
export {
  check,
  type FailedStep,
  hasCode,
  NsError,
  SeveralErrors,
  SpecError,
  type SyscallContext,
  SyscallError,
  UnavailableError,
} from './errors.ts';
export { OwnedFd } from './fd.ts';
export { fileCall } from './file-call.ts';
export { decodeFileName, encodeFileName } from './file-names.ts';
export {
  chmodAt,
  chmodFd,
  chownAt,
  chownFd,
  closeFd,
  linkAt,
  mkdirAt,
  mknodAt,
  openAt,
  openBound,
  RENAME,
  readlinkAt,
  renameAt,
  type Stat,
  statAt,
  statFd,
  symlinkAt,
  unlinkAt,
  utimesAt,
} from './files.ts';
export { IdleTimer } from './idle-timer.ts';
export { nearest, onlyKnownKeys } from './known-keys.ts';
export { addressOf, errno, libc, namespaceChanges, syscall } from './libc.ts';
export { type FdWatch, type LoopHandle, watchFdAlone } from './loop-handle.ts';
export { makeDirectories } from './make-directories.ts';
export { allocate, cString, type Memory, mapShared } from './memory.ts';
export { unescapeMountField } from './mount-field.ts';
export { inOwnTurns, ownTurn } from './own-turn.ts';
export {
  identifyProcess,
  isAlive,
  type ProcessIdentity,
  type ProcessStat,
  readProcessStat,
} from './process-stat.ts';
export { AsyncResourceStack, ResourceStack } from './resource-stack.ts';
export { rollBack } from './roll-back.ts';
export { holdBriefly, withDescriptorsForChild, withSpareDescriptors } from './spare-descriptors.ts';
export { stateDirectory, stateRoot } from './state-directory.ts';
export { type Arch, SYS, type SyscallName, syscallName, syscallNumbers } from './syscalls.ts';
export { closeBound } from './thread-fd.ts';
export { type EventWatch, prepareToWatch, type WatchedEvents, watchFd } from './watch-fd.ts';
export { getXattr, listXattrs, listXattrsFd, removeXattr, setXattr } from './xattr.ts';
