import { O, open, type SyscallError } from '@ns/libc';
import { cloneMount, createMount, createUserNamespace, idmapMount } from '@ns/mounts';
import { attemptInside } from './attempt.ts';
import { Lacking, type Trial, type Trials } from './capability.ts';

/** File systems and mounts. */
export type FileSystemFeature = 'mountApi' | 'overlay' | 'overlayInUserNamespace' | 'idmappedMounts' | 'fuse';

/** Mounts are made in a namespace that ends with its process, or detached, belonging to a descriptor. */
export const fileSystemTrials: Trials<FileSystemFeature> = {
  mountApi: () => attemptInside({ namespaces: ['mnt'], child: [{ op: 'mountScratch', options: { mode: '0755' } }] }),
  overlay: overlay('if needed'),
  overlayInUserNamespace: overlay('always'),
  async idmappedMounts() {
    if (process.geteuid!() !== 0)
      throw new Lacking('mapping the ids of a mount takes CAP_SYS_ADMIN on the host', 'Run as root');
    const ids = [{ container: 0, host: 100_000, size: 1 }];
    using userNamespace = await createUserNamespace({ uids: ids, gids: ids });
    using root = cloneMount('/');
    try {
      idmapMount(root, userNamespace);
      return 'of the root file system';
    } catch {
      // The root may be on what cannot do it (overlay, NFS) while the kernel can.
      using tmpfs = createMount({ type: 'tmpfs' });
      idmapMount(tmpfs, userNamespace);
      return 'of tmpfs, not of the root file system';
    }
  },
  fuse() {
    try {
      open('/dev/fuse', O.RDWR).close();
    } catch (error) {
      const { code, message } = error as SyscallError;
      const fix = code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO' ? 'modprobe fuse' : 'chmod 0666 /dev/fuse';
      throw new Lacking(message, `As root: ${fix}`);
    }
  },
};

function overlay(userNamespace: 'always' | 'if needed'): Trial {
  const nested = userNamespace === 'always' || process.geteuid!() !== 0;
  return () =>
    attemptInside({
      namespaces: ['mnt'],
      userNamespace,
      child: [
        { op: 'propagation', propagation: 'rslave' },
        { op: 'mountScratch', options: { mode: '0755' } },
        {
          op: 'mountOverlay',
          target: '/',
          lower: ['/usr'],
          upper: { scratch: 'root' },
          options: nested ? { userxattr: true } : {},
          attributes: [],
          appendLower: false,
        },
      ],
    });
}
