import type { Lowerings } from '../lowering.ts';
import { type BindStep, bindLowerings } from './bind.ts';
import { type CoverStep, coverLowerings } from './covers.ts';
import { type DevStep, devLowerings } from './dev.ts';
import { type FileSystemStep, fileSystemLowerings } from './file-system.ts';
import { type OverlayStep, overlayLowerings } from './overlay.ts';
import { type RootStep, rootLowerings } from './root.ts';

/** Steps that build the mount namespace. Targets are resolved inside the root, never outside (CVE-2021-30465). */
export type MountStep = RootStep | OverlayStep | FileSystemStep | DevStep | BindStep | CoverStep;

export const mountLowerings: Lowerings<MountStep> = {
  ...rootLowerings,
  ...overlayLowerings,
  ...fileSystemLowerings,
  ...devLowerings,
  ...bindLowerings,
  ...coverLowerings,
};
