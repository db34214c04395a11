export { type BindOptions, bindMount, createBind, mountFileSystem } from './bind.ts';
export {
  attachMount,
  cloneMount,
  contextMessages,
  createMount,
  finishMount,
  idmapMount,
  type NewMount,
  type Place,
  setMountAttributes,
  withMessages,
} from './detached-mount.ts';
export { mountAttributeNames, mountFlagNames } from './flag-names.ts';
export {
  type MountAttributes,
  type MountOptionEffect,
  type MountOptions,
  mountOptionTable,
  parseMountOptions,
} from './mount-options.ts';
export { MountTable } from './mount-table.ts';
export { moveMount, openMount, reconfigureFileSystem } from './move.ts';
export {
  type MountInfo,
  type MountPropagation,
  mountsBelow,
  parseMountinfo,
  parseMountinfoLine,
  readMountinfo,
} from './parse-mountinfo.ts';
export {
  makePrivate,
  makeShared,
  makeSlave,
  makeUnbindable,
  type Propagation,
  propagationBits,
  setPropagation,
} from './propagation.ts';
export { openRoot, type ResolveOptions, resolveInRoot } from './resolve-in-root.ts';
export { listMounts, type MountStatus, statMount } from './statmount.ts';
export { type UnmountMode, unmount, unmountAll } from './unmount.ts';
export { createUserNamespace, type UserNamespaceMaps } from './user-namespace.ts';
