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
      /**
       * A copy-on-write view of the host's own file system without `/root`, `/home`, `/run`, `/etc/shadow`, host keys of SSH and state
       * of containers. All else is there, `/tmp` too, and root without `idMap` reads files of any mode.
       *
       * In a user namespace each directory of `/` has a layer of its own: none is there to `commit`, and to copy out of or export
       * while it is stopped (`ERR_NS_NO_LAYER`). `writable: { dir }` keeps them all; `{ upper, work }`, of one layer, is refused. One
       * with mounts below is read-only; such a `/tmp` is empty.
       */
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
  /** The root directory itself. With ids of its own they are mapped: what is in it belongs to the ids that are inside. */
  | 'direct'
  /** A tmpfs of at most this size, and with at most so many files. */
  | { readonly tmpfs: Size; readonly inodes?: number }
  /**
   * Directories of the host that outlive the container, on one mount. What is in them belongs to the ids that are inside. They are
   * one container's until it has ended (`ERR_NS_IN_USE`), as is `dir`.
   */
  | { readonly upper: string; readonly work: string }
  /**
   * A directory of the host, made when it is missing, that keeps what is written from one container to the next, owned by the
   * ids that are inside. With `size` no more than that fits in, and with `inodes` no more files (ENOSPC or EDQUOT), by whatever
   * the host offers: project quota of ext4 and xfs (with `idMap`: a container without ids of its own could leave it), a quota
   * group of btrfs, an image file on a loop device, which one container at a time can have. `container.writeLimit` says which.
   * Of the host's root it keeps what is on the file system of `/`: what is written in others that are mounted there, as a separate
   * `/var`, goes to a tmpfs of at most the same size and vanishes with the container.
   */
  | { readonly dir: string; readonly size?: Size; readonly inodes?: number }
  /** The same without a directory to keep: a tmpfs. */
  | { readonly size: Size; readonly inodes?: number };

/** A namespace: its own, the host's, or one that exists. */
export type NamespaceChoice =
  | 'private'
  | 'host'
  /** Of a running container: its id, its name, or the object. For an ordinary user only with `user` of the same. */
  | { readonly container: string | { readonly id: string } }
  /** A namespace file such as `/run/netns/blue`. */
  | { readonly path: string };

/** A soft and a hard limit; one number for both. */
export type Rlimit =
  | number
  | 'unlimited'
  // -1 is the same, as in Docker.
  | { readonly soft: number | 'unlimited'; readonly hard: number | 'unlimited' };

/** A device node to have in /dev. */
export interface DeviceSpec {
  /** On the host: `/dev/fuse`. */
  readonly path: string;
  /**
   * In the container, if another. Below /dev, where nothing else is (`SpecError`); one of those that every container has may be
   * replaced, except /dev/null.
   */
  readonly target?: string;
  /**
   * What may be done with it: letters out of `r` (read), `w` (write) and `m` (make a node). Default `'rwm'`. Less is enforced by the
   * container's cgroup: the v1 devices controller, on v2 an eBPF program (since 4.15), for which an ordinary user lacks the privilege.
   * A device that every container has can have no less (`SpecError`).
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
  /**
   * `uid`, `uid:gid`, or names of the container's own /etc/passwd and /etc/group (setresuid(2), setresgid(2)). Default `0:0`. A number
   * is never taken for a name, nor wrapped (CVE-2016-3697). Ids that its user namespace does not map are EINVAL.
   */
  readonly user?: string;
  /**
   * Supplementary groups besides that of `user`, which is always one (CVE-2022-36109): numbers or names (setgroups(2)).
   * Default: those /etc/group gives a named user, else none. An ordinary user with a single id has none to give.
   */
  readonly groups?: readonly (number | string)[];
  /** At most 64 bytes; none where `namespaces.uts` is not its own. Default: the first 12 characters of the id. */
  readonly hostname?: string;
  /** NIS domain name, setdomainname(2): at most 64 bytes. Default: the caller's. */
  readonly domainname?: string;
  /** Default 0o022. */
  readonly umask?: number;
  /**
   * Default for `run`: a pipe if {@link ContainerProcess.stdin} is asked for at once, else nothing to read. With `tty` somebody may
   * type, unless `'null'` says that nobody will.
   */
  readonly stdin?: 'null' | 'pipe' | Readable | string | Buffer;
  /** A pseudoterminal as stdin, stdout, stderr and /dev/console. Default false. */
  readonly tty?: boolean;
  /** A small pid 1 that reaps zombies and forwards signals. Default true. */
  readonly init?: boolean;
  /** [a-zA-Z0-9][a-zA-Z0-9_.-]*, unique. */
  readonly name?: string;
  /** For `Container.list({ labels })`; nothing else looks at them. Default: none. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Default `{ host: true }`. */
  readonly rootfs?: Rootfs;
  /** Where writes below the root go; `mounts` have their own place. What `rootfs` says of it, this does not contradict. Default `'tmpfs'`. */
  readonly writable?: Writable;
  /**
   * Which namespaces are the container's own: namespaces(7). Default `'private'` for all but `user`, which is `'host'` for
   * root without `idMap` and `'private'` for ordinary users. With `ipc` of the host or of a container goes what that has at /dev/shm,
   * as in Docker; `shmSize` says nothing then. `time` since 5.6, with offsets in whole nanoseconds below 2^53, some 104 days.
   *
   * `user` of others: with their ids, which stay theirs until the last is gone; a process has to be in it, and id 0 mapped. For an
   * ordinary user it is what opens the other namespaces of that container, as in a pod; with it he has `net` of that, too, or none:
   * no `ports`, no `network: 'user'`.
   *
   * `mount` of others: in their file system as it is, `'host'` that of this machine, with all that is hidden otherwise, and written
   * to itself. `rootfs`, `writable`, `mounts` and whatever else makes a root are refused then, `cwd` has to be there, and `/proc`
   * shows the processes of the other, whose `pid` belongs with it. Of device nodes it may use those that every container has, and
   * `devices`. Its own user namespace has to own these mounts, but for `'host'`.
   *
   * The container whose namespaces it shares may end: it keeps them, but for `pid`, with which it ends, too; it cannot be started
   * again until the other runs (`ERR_NS_CONTAINER_NOT_RUNNING`). To join needs CAP_SYS_ADMIN over the namespace. `SpecError`: a
   * combination by which others could get at more than they share. An `UnavailableError` names a kind that the kernel lacks.
   *
   * @example
   * ```ts
   * // A debug container, with tools, beside one that has no shell.
   * const namespaces = { pid: { container: 'web' }, net: { container: 'web' }, ipc: 'host' } as const;
   * await run('ss', ['--listening'], { namespaces });
   * // Another program in the same file system, with limits and a life of its own.
   * const beside = { mount: { container: 'web' }, pid: { container: 'web' } } as const;
   * await run('tar', ['-cf', '-', '/data'], { namespaces: beside, limits: { cpus: 0.1 } });
   * ```
   */
  readonly namespaces?: Partial<Record<Exclude<NamespaceKind, 'mnt' | 'time'> | 'mount', NamespaceChoice>> & {
    readonly time?: NamespaceChoice | { readonly monotonicNs?: number; readonly boottimeNs?: number };
  };
  /**
   * A user namespace in which these ids are others outside (`/proc/PID/uid_map`: user_namespaces(7)); `'auto'` takes 65536 ids that no
   * other container has. At most 340 ranges (5 before 4.15), id 0 among them. Default: none as root; for an ordinary user his own
   * id as root, and those that `/etc/subuid` grants where newuidmap is installed. Errors: `SpecError`; `ERR_NS_IDS_EXHAUSTED`;
   * `ERR_NS_UNAVAILABLE` when newuidmap is needed and missing; EPERM when it refuses.
   *
   * @example
   * ```ts
   * const range = { container: 0, host: 100_000, size: 65_536 };
   * await run('id', [], { idMap: { uids: [range], gids: [range] } });
   * ```
   */
  readonly idMap?: 'auto' | { readonly uids: readonly IdRange[]; readonly gids: readonly IdRange[] };
  /** What it may use of the machine, enforced by its cgroup: memory in bytes, `cpus` in processors. Default: no limits. */
  readonly limits?: ContainerLimits;
  /**
   * `/sys/fs/cgroup`: `'readonly'` shows a container with limits its own cgroup; `'delegated'` gives it one beneath that to
   * manage as it likes, as systemd or a container engine inside needs (cgroup v2 only, `ERR_NS_UNAVAILABLE` elsewhere). Its
   * limits are out of its reach. Default `'readonly'`.
   */
  readonly cgroupAccess?: 'readonly' | 'delegated';
  /** Report as `pressure` events when processes wait too long for a resource: PSI triggers. */
  readonly pressure?: readonly PressureTrigger[];
  /**
   * Resource limits of the program and of commands, in the units of getrlimit(2): `nofile` in descriptors, `as` in bytes, `cpu` in
   * seconds. Default: `nofile` 1024, at most 524288 or what the caller has; `core` 0; others the caller's. Raising a hard limit needs
   * CAP_SYS_RESOURCE: EPERM for what was asked for.
   */
  readonly rlimits?: Partial<Record<RlimitName, Rlimit>>;
  /** Docker's name for `rlimits`: what both name they say the same of. */
  readonly ulimits?: Partial<Record<RlimitName, Rlimit>>;
  /**
   * Kernel parameters, `/proc/sys`: only those that belong to a namespace which is the container's own (`net.*`; `kernel.shm*`,
   * `kernel.msg*`, `kernel.sem`, `fs.mqueue.*`), others are a `SpecError` (CVE-2022-0811). Default, with a network namespace and without
   * a user namespace: `net.ipv4.ip_unprivileged_port_start` 0 and `net.ipv4.ping_group_range` for all.
   */
  readonly sysctls?: Readonly<Record<string, string | number>>;
  /**
   * `/proc/PID/oom_score_adj`, -1000 (never killed) to 1000 (first). Default: the caller's. Less than the caller's needs
   * CAP_SYS_RESOURCE: EACCES.
   */
  readonly oomScoreAdj?: number;
  /** Default 64 MiB. */
  readonly shmSize?: Size;
  /**
   * Devices of the host to have besides null, zero, full, random, urandom, tty and the pseudoterminals; a string is a path, or `'path:target:permissions'` as
   * in Docker. In a user
   * namespace they are bound from the host, else made (CAP_MKNOD). Default: none. `ERR_NS_DEVICE` for what is no device.
   * What the program may use is enforced by its cgroup: {@link DeviceSpec.permissions}.
   */
  readonly devices?: readonly (string | DeviceSpec)[];
  /**
   * Docker's fourteen, changed by `add` and `drop` by Docker's rules; or exactly these: capabilities(7). They are bounding, permitted
   * and, for uid 0, effective set; inheritable and ambient are empty (CVE-2022-24769). Names with or without `CAP_`, in any case, `ALL`.
   * One that the caller cannot grant is left out, with `NS_CAPABILITY_NOT_GRANTED` among the container's `warnings`; an unknown one is a `SpecError`.
   *
   * @example
   * ```ts
   * await run('ping', ['-c1', '127.0.0.1'], { capabilities: { drop: ['ALL'], add: ['NET_RAW'] } });
   * ```
   */
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] } | readonly string[];
  /**
   * PR_SET_NO_NEW_PRIVS: execve gives no privileges, by setuid or file capabilities (since 3.5). Default true, with `privileged` false.
   * With false, a filter of your own has to allow `clone` for `exec`, which loads it before it goes on inside.
   */
  readonly noNewPrivileges?: boolean;
  /**
   * All capabilities that the caller has, no seccomp filter, no AppArmor profile, every device (those below /dev of this machine at
   * its start have their nodes, but for /dev/console), nothing masked or read-only but the cgroup: as root without `idMap` it can do to the host what the caller can. What is asked for by name besides still holds. Default false.
   */
  readonly privileged?: boolean;
  /**
   * System calls that are allowed: seccomp(2), since 3.17. `'default'` is Docker's profile, `'strict'` is for code nobody has read, a
   * string with a slash the path of a profile in the form of the OCI runtime specification. Default `'default'`, with `privileged`
   * `'unconfined'`. A `SpecError` names the field of a profile that is wrong.
   */
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
  /**
   * Files, ports and scopes that remain, beyond what the rest of the specification allows (since 5.13): landlock(7). Paths are those
   * inside the container. `enforce` says what an older kernel must know (default `'named'`): `ERR_NS_UNAVAILABLE` for what it lacks.
   * Default: no restriction.
   */
  readonly landlock?: LandlockSpec & { readonly enforce?: LandlockEnforcement };
  /**
   * Files and directories to hide, absolute; those that do not exist are passed over. Replaces the default list, Docker's: `/proc/kcore`,
   * `/proc/keys`, `/proc/timer_list`, `/sys/firmware`, … With `privileged` the default is none.
   */
  readonly maskedPaths?: readonly string[];
  /**
   * The same for what cannot be written to. Default: `/proc/bus`, `/proc/fs`, `/proc/irq`, `/proc/sys`, `/proc/sysrq-trigger`; with
   * `privileged` none.
   */
  readonly readonlyPaths?: readonly string[];
  /** In any order: one below another is mounted in it. Two in one place are refused. */
  readonly mounts?: readonly MountSpec[];
  /** Wall-clock milliseconds for the whole container from each start; the kernel keeps it, not this process's event loop. */
  readonly timeout?: number;
  /** How much of the output is kept for the result, and what happens beyond. Default: the first 64 MiB. */
  readonly maxOutput?: MaxOutput;
  /** Keep the output in files, which are rotated. Default: in memory; with `lifetime: { dieWithParent: false }` in files. */
  readonly log?: LogSpec;
  /** Whom it outlives. */
  readonly lifetime?: {
    /**
     * Default true. With false it survives the process that made it, and `detach` lets it go: its output goes to files that
     * its monitor writes and rotates ({@link ContainerSpec.log}), and it can have no `stdin`, `tty` or `onSyscall`.
     * Restarts and health checks end with their maker. What the kernel does of its networks goes on: traffic, policies, published
     * ports. What a process does for them goes on where another has the network open, by `Network.get` at the latest: names, and
     * with them rules for names. Ports on `::1` end, and so does their being kept from other programs.
     */
    readonly dieWithParent?: boolean;
  };
  /** What `stop` and `restart` send first. Default `'SIGTERM'`. */
  readonly stopSignal?: NodeJS.Signals;
  /** `start()` settles when this holds: see `Wait`. Default: when the program runs. */
  readonly wait?: WaitCondition;
  /** A command that tells whether the container does its work. */
  readonly health?: HealthSpec;
  /**
   * Whether it starts again after its end: after 100 ms, then twice as long each time, a minute at most; after a run of 10 s
   * from 100 ms again. An end by `timeout` or `maxOutput` is final. `on-failure:5` counts restarts. Kept by the process that made the
   * container, until `stop`, `remove`, or `kill` with SIGKILL: an end by another signal is one like any other. `'always'` and
   * `'unless-stopped'` are the same here. Default `'no'`.
   */
  readonly restart?: RestartPolicy;
}

/** A limit on captured output, stdout and stderr together. */
export interface MaxOutput {
  /** Default 64 MiB. */
  readonly bytes?: Size;
  /**
   * `kill` ends the container; `drop-tail` keeps the beginning, `drop-head` the end. Default `drop-tail`. `logs()` keeps the end
   * in any case.
   */
  readonly onExceed?: 'kill' | 'drop-head' | 'drop-tail';
}

/** Limits in Docker's words. `memory` is 1 MiB at least: with less nothing starts. */
export interface ContainerLimits extends DockerLimits {
  /**
   * What becomes of a limit whose controller or file this machine lacks: `'error'` refuses (`ERR_NS_UNAVAILABLE`), `'warn'`
   * goes without and says so in `warnings`. Default `'error'`. An ordinary user without a delegated cgroup gets EACCES in either
   * case: there is nothing to set any of them in.
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
