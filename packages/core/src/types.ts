import type { Readable } from 'node:stream';
import type { DockerLimits, MissingPolicy, PressureTrigger } from '@ns/cgroups';
import type { IdRange, NamespaceKind, RlimitName } from '@ns/launch';
import type { LandlockEnforcement, LandlockSpec } from '@ns/lsm';
import type { SeccompHandlers, SeccompProfile } from '@ns/seccomp';
import type { HealthSpec } from './health.ts';
import type { LogSpec } from './log-location.ts';
import type { MountSpec } from './mount-spec.ts';
import type { NetworkSpec } from './network/network-spec.ts';
import type { RestartPolicy } from './restart-policy.ts';
import type { WaitCondition } from './wait/wait.ts';

/** Bytes as a number, or text with a binary unit as Docker reads it: `'256MiB'`, `'1g'`. */
export type Size = number | string;

/** The root file system. A path is the lower layer of an overlay. */
export type Rootfs =
  | string
  | {
      /** A copy-on-write view of the host's own file system, private places hidden. */
      readonly host: true;
      /** More paths to hide. */
      readonly hide?: readonly string[];
      /** Paths to take from the list of hidden ones. */
      readonly show?: readonly string[];
    }
  | { readonly dir: string; readonly readonly?: boolean }
  | {
      /** Directories, topmost first. */
      readonly layers: readonly string[];
      readonly writable?: Writable;
    };

/** Where writes go. */
export type Writable =
  /** A tmpfs that vanishes with the container (default). */
  | 'tmpfs'
  /** Nowhere: the root is read-only. */
  | 'none'
  /** The root directory itself. */
  | 'direct'
  /** A tmpfs of at most this size, and with at most so many files. */
  | { readonly tmpfs: Size; readonly inodes?: number }
  /** Directories of the host that outlive the container, on one mount. What is in them belongs to the ids that are inside. */
  | { readonly upper: string; readonly work: string }
  /**
   * A directory of the host, made when it is missing, that keeps what is written from one container to the next, owned by the
   * ids that are inside. With `size` no more than that fits in, and with `inodes` no more files (ENOSPC or EDQUOT), by whatever
   * the host offers: project quota of ext4 and xfs (with `idMap`: a container without ids of its own could leave it), a quota
   * group of btrfs, an image file on a loop device, which one container at a time can have. `container.writeLimit` says which.
   */
  | { readonly dir: string; readonly size?: Size; readonly inodes?: number }
  /** The same without a directory to keep: a tmpfs. */
  | { readonly size: Size; readonly inodes?: number };

/** A namespace: its own, the host's, or one that exists. */
export type NamespaceChoice =
  | 'private'
  | 'host'
  /** Of a running container: its id, its name, or the object. */
  | { readonly container: string | { readonly id: string } }
  /** A namespace file such as `/run/netns/blue`. */
  | { readonly path: string };

/** A soft and a hard limit; one number for both. */
export type Rlimit =
  | number
  | 'unlimited'
  | { readonly soft: number | 'unlimited'; readonly hard: number | 'unlimited' };

/** A device node to have in /dev. */
export interface DeviceSpec {
  /** On the host: `/dev/fuse`. */
  readonly path: string;
  /** In the container, if another. */
  readonly target?: string;
  /**
   * What may be done with it: letters out of `r` (read), `w` (write) and `m` (make a node). Default `'rwm'`. Less is enforced by the
   * container's cgroup: the v1 devices controller, on v2 an eBPF program (since 4.15), for which an ordinary user lacks the privilege.
   */
  readonly permissions?: string;
}

/** What a container is. Everything but `command` has a default. */
export interface ContainerSpec extends NetworkSpec {
  /** Program and arguments. A name without a slash is looked for in the PATH of `env`, inside the container. */
  readonly command: readonly string[];
  /** The whole environment besides PATH, HOME and HOSTNAME: nothing of the caller's is passed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** Absolute, inside the root; made when it is missing. Default `/`. */
  readonly cwd?: string;
  /** `uid`, `uid:gid`, or names of the container's own /etc/passwd and /etc/group. Default `0:0`. */
  readonly user?: string;
  /** Supplementary groups: numbers or names. Default: those /etc/group gives a named user. */
  readonly groups?: readonly (number | string)[];
  /** At most 64 bytes. Default: the first 12 characters of the id. */
  readonly hostname?: string;
  readonly domainname?: string;
  /** Default 0o022. */
  readonly umask?: number;
  /** Default for `run`: a pipe if {@link ContainerProcess.stdin} is asked for at once, else nothing to read. */
  readonly stdin?: 'null' | 'pipe' | Readable | string | Buffer;
  /** A pseudoterminal as stdin, stdout and stderr. Default false. */
  readonly tty?: boolean;
  /** A small pid 1 that reaps zombies and forwards signals. Default true. */
  readonly init?: boolean;
  /** [a-zA-Z0-9][a-zA-Z0-9_.-]*, unique. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Default `{ host: true }`. */
  readonly rootfs?: Rootfs;
  readonly writable?: Writable;
  readonly namespaces?: Partial<
    Record<Exclude<NamespaceKind, 'mnt' | 'time' | 'user'> | 'mount' | 'user', NamespaceChoice>
  > & {
    readonly time?: 'private' | 'host' | { readonly monotonicNs?: number; readonly boottimeNs?: number };
  };
  /** A user namespace in which these ids are others outside; `'auto'` takes a range that no other container has. */
  readonly idMap?: 'auto' | { readonly uids: readonly IdRange[]; readonly gids: readonly IdRange[] };
  readonly limits?: ContainerLimits;
  /**
   * `/sys/fs/cgroup`: `'readonly'` shows a container with limits its own cgroup; `'delegated'` gives it one beneath that to
   * manage as it likes, as systemd or a container engine inside needs (cgroup v2 only, `ERR_NS_UNAVAILABLE` elsewhere). Its
   * limits are out of its reach. Default `'readonly'`.
   */
  readonly cgroupAccess?: 'readonly' | 'delegated';
  /** Report as `pressure` events when processes wait too long for a resource: PSI triggers. */
  readonly pressure?: readonly PressureTrigger[];
  readonly rlimits?: Partial<Record<RlimitName, Rlimit>>;
  /** Docker's name for `rlimits`. */
  readonly ulimits?: Partial<Record<RlimitName, Rlimit>>;
  /** Only parameters that belong to a namespace of the container. */
  readonly sysctls?: Readonly<Record<string, string | number>>;
  /** -1000 (never) to 1000 (first). */
  readonly oomScoreAdj?: number;
  /** Default 64 MiB. */
  readonly shmSize?: Size;
  readonly devices?: readonly (string | DeviceSpec)[];
  /** Docker's fourteen, changed by `add` and `drop`; or exactly these. */
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] } | readonly string[];
  /** Default true: execve gives no privileges. */
  readonly noNewPrivileges?: boolean;
  /** All capabilities, no seccomp filter, nothing masked or read-only but the cgroup. Default false. */
  readonly privileged?: boolean;
  /** Default `'default'`: Docker's profile. A string with a slash is the path of a profile. */
  readonly seccomp?: 'default' | 'strict' | 'unconfined' | SeccompProfile | string;
  /** Decides about system calls in TypeScript, whatever the profile says of them: seccomp user notification (since 5.0). */
  readonly onSyscall?: SeccompHandlers;
  /**
   * Name of a loaded AppArmor profile, or `'unconfined'`. Default, where the kernel has AppArmor: a profile of our own
   * with the meaning of Docker's, which is loaded when root starts the first container; privileged containers and those of
   * ordinary users stay under the caller's. A default that cannot be applied is one of the container's `warnings`.
   */
  readonly apparmor?: string;
  /**
   * SELinux labels: `process` of the program and of commands, `mount` of the files of all that is mounted for it but binds, message
   * queues, procfs and sysfs. The init takes the program's label where the policy lets the caller change its own
   * (`dyntransition`); where not, that it kept the caller's is one of the container's `warnings`.
   */
  readonly selinux?: { readonly process?: string; readonly mount?: string };
  /** Files, ports and scopes that remain, beyond what the rest of the specification allows (since 5.13). */
  readonly landlock?: LandlockSpec & { readonly enforce?: LandlockEnforcement };
  /** Replaces the default list. */
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
  readonly mounts?: readonly MountSpec[];
  /** Wall-clock milliseconds for the whole container; the kernel keeps it, not this process's event loop. */
  readonly timeout?: number;
  readonly maxOutput?: MaxOutput;
  /** Keep the output in files, which are rotated. Default: in memory; with `lifetime: { dieWithParent: false }` in files. */
  readonly log?: LogSpec;
  readonly lifetime?: {
    /**
     * Default true. With false it survives the process that made it, and `detach` lets it go: its output goes to files that
     * its monitor writes and rotates ({@link ContainerSpec.log}), and it can have no `stdin`, `tty` or `onSyscall`.
     * Restarts, health checks and networks that a Node process serves end with their maker.
     */
    readonly dieWithParent?: boolean;
  };
  readonly stopSignal?: NodeJS.Signals;
  /** `start()` settles when this holds: see `Wait`. Default: when the program runs. */
  readonly wait?: WaitCondition;
  /** A command that tells whether the container does its work. */
  readonly health?: HealthSpec;
  /**
   * Whether it starts again after its end: after 100 ms, then twice as long each time. Kept by the process that made the
   * container, until `stop`, `kill` or `remove`; `'always'` and `'unless-stopped'` are the same here. Default `'no'`.
   */
  readonly restart?: RestartPolicy;
}

/** A limit on captured output, stdout and stderr together. */
export interface MaxOutput {
  /** Default 64 MiB. */
  readonly bytes?: Size;
  /** `kill` ends the container; the others keep the end or the beginning. Default `drop-tail`. */
  readonly onExceed?: 'kill' | 'drop-head' | 'drop-tail';
}

/** Limits in Docker's words. */
export interface ContainerLimits extends DockerLimits {
  /**
   * What becomes of a limit whose controller or file this machine lacks: `'error'` refuses (`ERR_NS_UNAVAILABLE`), `'warn'`
   * goes without and says so in `warnings`. Default `'error'`.
   */
  readonly missing?: MissingPolicy;
}

/** Options of `run` besides the command. */
export interface RunOptions
  extends Omit<ContainerSpec, 'command' | 'wait' | 'health' | 'restart' | 'log' | 'cgroupAccess'> {
  /** Ends the container. The result then says `reason: 'abort'`. */
  readonly signal?: AbortSignal;
  /** Throw {@link ProcessFailedError} unless the exit code is 0. */
  readonly check?: boolean;
  /** `'buffer'`: the result has Buffers. It is typed so where the type of the options says it. */
  readonly encoding?: 'utf8' | 'buffer' | undefined;
  /** Keep the output for the result. Default true. */
  readonly buffer?: boolean;
}

/** Options by which output is typed as Buffers. */
export type AsBytes = { readonly encoding: 'buffer' };
