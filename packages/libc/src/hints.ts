const leased =
  'A program holds a lease on the file (fcntl(2), F_SETLEASE) and was told to give it up: end it, or try again after the seconds of sysctl fs.lease-break-time, when it has lost it';

const unmappedId = 'The user namespace maps no such id: give it a larger id map, or run as another user';

/** A hint holds for a call, an errno and, where given, the step it happened in. The first match counts. */
const hints: readonly (readonly [syscall: string, errno: string, op: string | undefined, hint: string])[] = [
  [
    'clone3',
    'ENOSPC',
    undefined,
    'A limit on nested or concurrent namespaces was reached: raise sysctl user.max_{pid,net,mnt,uts,ipc,user,cgroup,time}_namespaces',
  ],
  [
    'unshare',
    'ENOSPC',
    undefined,
    'A limit on nested or concurrent namespaces was reached: raise sysctl user.max_*_namespaces',
  ],
  [
    'clone3',
    'EPERM',
    undefined,
    'Creating namespaces needs CAP_SYS_ADMIN; as an ordinary user add a user namespace (idMap), and where it is refused too look at sysctl kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns',
  ],
  [
    'unshare',
    'EPERM',
    undefined,
    'Needs CAP_SYS_ADMIN: run as root, in a container of Docker with --cap-add SYS_ADMIN',
  ],
  [
    'clone3',
    'ENOSYS',
    undefined,
    'Likely a seccomp filter refuses it (Linux has it since 5.3), as in a container: start that one with --privileged, or with --cap-add SYS_ADMIN --security-opt apparmor=unconfined',
  ],
  [
    'clone3',
    'EAGAIN',
    undefined,
    'A process limit was reached: RLIMIT_NPROC, pids.max of the cgroup, or sysctl kernel.pid_max',
  ],
  [
    'clone',
    'EAGAIN',
    undefined,
    'A process limit was reached: RLIMIT_NPROC, pids.max of the cgroup, or sysctl kernel.pid_max',
  ],
  [
    'posix_spawn',
    'EAGAIN',
    undefined,
    'A process limit was reached: RLIMIT_NPROC, pids.max of the cgroup that this process is in, or sysctl kernel.pid_max',
  ],
  [
    'fsmount',
    'EPERM',
    'mount',
    'Likely parts of /proc or /sys are covered here, as in a container: a user namespace gets a new one only where it may see all of the old. Start that container with --security-opt systempaths=unconfined (Docker), --security-opt unmask=ALL (Podman), or --privileged',
  ],
  [
    'setxattr',
    'EPERM',
    'coverLayer',
    'Attributes named trusted. are for root of the machine: as root of a user namespace, give the container one of its own (idMap)',
  ],
  [
    'keyctl',
    'EPERM',
    'sessionKeyring',
    'Likely a seccomp filter refuses it, as in a container: start that one with --security-opt seccomp=unconfined, or --privileged',
  ],
  ['write', 'EFBIG', undefined, 'More than this process may write to one file: raise RLIMIT_FSIZE (ulimit -f)'],
  [
    'prctl',
    'EPERM',
    'boundingSet',
    'Dropping capabilities needs CAP_SETPCAP, which this process has not: keep it when it is started',
  ],
  ['clone3', 'ENOMEM', undefined, 'Likely the pid namespace to clone into has no init any more'],
  [
    'setns',
    'EINVAL',
    undefined,
    'The namespace is of another kind, or the caller has several threads (join user and mount namespaces through @ns/launch)',
  ],
  ['setns', 'EPERM', undefined, 'Joining needs CAP_SYS_ADMIN in the user namespace that owns the target'],
  [
    'fsconfig',
    'ELOOP',
    'mountOverlay',
    'Layers overlap: upperdir or workdir lies inside a lowerdir of an overlay that is in use, or the same directory is named twice',
  ],
  [
    'fsconfig',
    'EINVAL',
    'mountOverlay',
    'Likely an upperdir on a file system that cannot hold one (overlay, NFS, vfat), too deep stacking (2 levels), upperdir and workdir on different mounts, or, in a user namespace, mounts below a layer',
  ],
  [
    'fsconfig',
    'ESTALE',
    'mountOverlay',
    'The upper directory was made with another lower layer; use a fresh upper and work directory',
  ],
  ['fsconfig', 'EBUSY', 'mountOverlay', 'The upper or work directory is in use by another mount'],
  ['mount', 'ELOOP', undefined, 'Layers of the overlay overlap'],
  [
    'move_mount',
    'EINVAL',
    undefined,
    'A directory goes on a directory, and a file on a file; likely one of each is given. Or what is moved has a shared mount above it: make that private first',
  ],
  [
    'pivot_root',
    'EINVAL',
    undefined,
    'The new root must be a mount point whose parent is not shared, and the current root must not be the initramfs',
  ],
  ['pivot_root', 'EBUSY', undefined, 'The new root is on the current root mount; bind it to itself first'],
  ['mkdirat', 'EROFS', undefined, 'It is read-only there, and what is to be in it is missing: make that beforehand'],
  ['mknodat', 'EPERM', undefined, 'Making device nodes needs CAP_MKNOD in the initial user namespace'],
  [
    'execve',
    'ENOENT',
    undefined,
    'The program, its script interpreter or its dynamic loader does not exist inside the root',
  ],
  ['execve', 'EACCES', undefined, 'The file is not executable for this user, or its mount is noexec'],
  [
    'execve',
    'ENOEXEC',
    undefined,
    'Not a program for this machine: likely another architecture, or a script without a #! line',
  ],
  [
    'execve',
    'E2BIG',
    undefined,
    'Arguments and environment exceed the kernel limits: 128 KiB for one string, a quarter of RLIMIT_STACK for all',
  ],
  [
    'execve',
    'EPERM',
    'clone',
    'newuidmap or newgidmap refused the id map: a user may map the own id and the ranges that /etc/subuid and /etc/subgid give it',
  ],
  ['fchown', 'EINVAL', 'stdioOwner', unmappedId],
  ['fchown', 'EINVAL', 'terminal', unmappedId],
  [
    'write',
    'EPERM',
    'clone',
    'Mapping ids of others needs CAP_SETUID and CAP_SETGID, and each of them to be mapped in the user namespace around',
  ],
  [
    'write',
    'EPERM',
    'timeOffsets',
    'Shifting clocks needs CAP_SYS_TIME in the user namespace that owns the time namespace',
  ],
  ['setresuid', 'EINVAL', undefined, 'The uid is not mapped in the user namespace'],
  ['setresgid', 'EINVAL', undefined, 'The gid is not mapped in the user namespace'],
  ['prlimit64', 'EINVAL', undefined, 'A soft limit is at most the hard one'],
  ['prlimit64', 'EPERM', undefined, 'Raising a hard limit needs CAP_SYS_RESOURCE'],
  ['write', 'EACCES', 'oomScoreAdj', "Less than the caller's own (/proc/self/oom_score_adj) needs CAP_SYS_RESOURCE"],
  ['sethostname', 'EINVAL', undefined, 'A host name has at most 64 bytes'],
  [
    'keyctl',
    'EDQUOT',
    undefined,
    "The user's quota of keys is used up (/proc/key-users): raise sysctl kernel.keys.maxkeys and kernel.keys.maxbytes (root_maxkeys and root_maxbytes for root), or end what holds keys",
  ],
  ['memfd_create', 'EACCES', undefined, 'Executable memfds are disabled here: sysctl vm.memfd_noexec'],
  [
    'seccomp',
    'EINVAL',
    undefined,
    'The kernel refuses the filter or a flag: likely an action this kernel does not know',
  ],
  ['openat', 'EAGAIN', undefined, leased],
  ['openat2', 'EAGAIN', undefined, `Likely a${leased.slice(1)}`],
  ['openat2', 'ELOOP', undefined, 'A symbolic link stands where a plain file or directory must be'],
  [
    'openat2',
    'EXDEV',
    'execLabel',
    'Something is mounted in /proc above the attribute file: the label would not take effect',
  ],
  ['fstatfs', 'EXDEV', 'execLabel', 'What is mounted at /proc is no procfs: the label would not take effect'],
  ['openat2', 'EXDEV', undefined, 'The path leads outside the root'],
  ['openat2', 'ENOSYS', undefined, 'openat2 needs Linux 5.6'],
];

/** Whatever the call. */
const hintsByErrno: Readonly<Record<string, string>> = {
  ENAMETOOLONG: 'A path has at most 4095 bytes, and each name in it at most 255',
  EMFILE:
    'This process has as many descriptors open as it may: raise RLIMIT_NOFILE (ulimit -n), or close what is not needed',
  ENFILE: 'The machine has as many files open as it may: raise sysctl fs.file-max, or end what holds them',
  ENOSPC: 'The file system is full, or has no room for another file: make room (df and df -i tell), or give it more',
  EDQUOT: "The owner's quota of that file system is used up: remove what is not needed, or raise it",
  EROFS: 'The file system is mounted read-only: choose another place, or mount it writable',
};

/** Whatever the call, of a path. */
const hintsOfPaths: Readonly<Record<string, string>> = {
  ENOENT: 'It, or a directory on the way to it, does not exist: make it first, or correct the path',
  EEXIST: 'Something of another kind has that name: remove it, or choose another name',
  ENOTDIR: 'A file stands where a directory must be, there or on the way to it: correct the path',
  ELOOP: 'Symbolic links lead round in a circle, or stand where none is followed: name the place itself',
  EACCES: 'This user may not do that there: look at the modes of it and of the directories on the way to it',
};

/** The next action for a failed call, if the table knows one. */
export function hintFor(
  syscall: string,
  errno: string,
  { op, path }: { op?: string | undefined; path?: string | undefined } = {},
): string | undefined {
  const known = hints.find(
    ([call, code, step]) => call === syscall && code === errno && (step === undefined || step === op),
  );
  return known?.[3] ?? hintsByErrno[errno] ?? (path === undefined ? undefined : hintsOfPaths[errno]);
}
