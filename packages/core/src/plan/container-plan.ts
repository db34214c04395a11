import { join } from 'node:path';
import {
  type DeviceNode,
  helperName,
  type IdMaps,
  type Leftovers,
  type MountStep,
  type NamespaceKind,
  type OutputFiles,
  type Step,
} from '@ns/launch';
import type { ContainerWarning } from '../container-warning.ts';
import { deviceLinks, deviceNodes } from '../defaults.ts';
import type { Host } from '../host.ts';
import type { ResolvedRoot } from '../rootfs.ts';
import { cgroupSteps, type VisibleCgroup } from './cgroup-steps.ts';
import { earlyLookups } from './early-lookups.ts';
import { withMountLabel } from './mount-label.ts';
import {
  execLabelSteps,
  oomScoreSteps,
  type PayloadDesign,
  payloadSteps,
  standardStreamSteps,
  terminalSteps,
} from './payload-plan.ts';
import { hiddenByMask, isAssembled, type PlacedFile, rootSteps, type ScratchUse } from './root-steps.ts';
import { type SharedMemory, sharedMemoryStep } from './shared-memory-step.ts';

const CAP_SYS_ADMIN = 1n << 21n;

/** A container with everything decided: what {@link containerPlan} turns into steps. */
export interface ContainerDesign extends PayloadDesign {
  readonly id: string;
  readonly cwd: string;
  readonly hostname: string;
  readonly domainname: string | undefined;
  readonly init: boolean;
  /** The label of the init, whose child has it too. Without, only programs are labelled. */
  readonly initLabel: { readonly file: string; readonly label: string } | undefined;
  /** The label that the init takes when its child has the program's: for modules under which the two are taken differently. */
  readonly supervisorLabel: { readonly file: string; readonly label: string } | undefined;
  readonly root: ResolvedRoot;
  readonly files: readonly PlacedFile[];
  readonly namespaces: NamespaceDesign;
  readonly mounts: readonly MountStep[];
  readonly devices: readonly DeviceNode[];
  /** Whose /dev/shm it has; without, one of its own of so many bytes. */
  readonly sharedMemory: SharedMemory | undefined;
  readonly shmBytes: number;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly sysReadonly: boolean;
  readonly sysctls: readonly { readonly key: string; readonly value: string; readonly required: boolean }[];
  /** cgroup v1: files the process writes itself into. */
  readonly cgroupProcs: readonly string[];
  /** cgroup v2: the process is born there. */
  readonly cgroupFd: boolean;
  /** What it sees of it. */
  readonly visibleCgroup: VisibleCgroup | undefined;
  readonly timeoutMs: number | undefined;
  readonly dieWithParent: boolean;
  readonly leftovers: Leftovers;
  /** The monitor writes the end into the descriptor `journal`. */
  readonly journal: boolean;
  /** Where the monitor puts what the program writes. */
  readonly output: OutputFiles | undefined;
  readonly scratch: ScratchUse;
  /** SELinux label of the files of what is mounted for it. */
  readonly mountLabel: string | undefined;
  /** Wait for the word to start. */
  readonly park: boolean;
  /** What it goes without. */
  readonly warnings: readonly ContainerWarning[];
}

/** Which namespaces are new, which exist. */
export interface NamespaceDesign {
  readonly created: readonly NamespaceKind[];
  readonly joined: readonly JoinedNamespace[];
  /** Of its user namespace, a new one unless that is among those joined. */
  readonly idMaps: IdMaps | undefined;
  readonly timeOffsets: { readonly monotonicNs: number; readonly boottimeNs: number } | undefined;
}

/** An existing one. */
export interface JoinedNamespace {
  readonly kind: NamespaceKind;
  /** Its descriptor, by name of the launch's `fds`. */
  readonly fd: string;
  /** By the user namespace that is joined, too. */
  readonly isOwned?: boolean;
}

/**
 * The steps that make a container. Pure: it looks at nothing but its arguments.
 *
 * The order is that of the hardening list in docs/security.md; where a step cannot stand elsewhere, the reason is beside it.
 */
export function containerPlan(design: ContainerDesign, host: Host): readonly Step[] {
  const { namespaces } = design;
  // A process enters a new time namespace only by being born after it was made and its clocks were set.
  const bornInto = namespaces.created.filter(
    (kind) => kind !== 'cgroup' && !(kind === 'time' && namespaces.timeOffsets),
  );
  const { byMonitor, between } = inJoinOrder(namespaces);
  const newIds = hasNewIds(namespaces) ? namespaces.idMaps : undefined;
  return [
    ...(design.dieWithParent ? [{ op: 'endWithParent', parent: process.pid } as const] : []),
    { op: 'newSession' },
    { op: 'processName', name: helperName('ns-monitor') },
    // Before anything of the container can look at us (CVE-2016-9962). Children inherit it.
    ...(namespaces.idMaps ? [] : [{ op: 'notDumpable' } as const]),
    ...setnsSteps(byMonitor),
    ...(namespaces.timeOffsets
      ? ([
          { op: 'unshare', namespaces: ['time'] },
          { op: 'timeOffsets', ...namespaces.timeOffsets },
        ] as const)
      : []),
    {
      op: 'clone',
      supervisor: 'monitor',
      namespaces: between.length > 0 ? [] : bornInto,
      ...(design.timeoutMs !== undefined && { timeoutMs: design.timeoutMs }),
      ...(design.cgroupFd && { intoCgroup: 'cgroup' }),
      ...(newIds && { idMaps: { ...newIds, cgroupProcs: between.length > 0 ? [] : design.cgroupProcs } }),
      leftovers: design.leftovers,
      ...(design.journal && { journal: 'journal' }),
      ...(design.output && { output: design.output }),
      child: [...stepsBetween(design, between, bornInto), ...initSteps(design, host)],
    },
  ];
}

/** Is its user namespace a new one? */
function hasNewIds({ idMaps, joined }: NamespaceDesign): boolean {
  return idMaps !== undefined && joined.every(({ kind }) => kind !== 'user');
}

/**
 * Namespaces of others by who enters them, in order.
 *
 * The monitor keeps the host's user namespace, in which it clears up, and its cgroup namespace: where cgroups are delegated, none
 * can be entered from a namespace that it is not in (nsdelegate, cgroups(7)). What the first process cannot enter in their place,
 * being born in a user namespace by then, a process between the two does: what the host owns first, then the user namespace,
 * then what that owns. Mounts come last, when nothing on the host is opened by path any more.
 */
function inJoinOrder({
  joined,
  idMaps,
}: NamespaceDesign): Record<'byMonitor' | 'between' | 'byInit' | 'mounts', readonly JoinedNamespace[]> {
  const mounts = joined.filter(({ kind }) => kind === 'mnt');
  const others = joined.filter(({ kind }) => kind !== 'mnt');
  const user = others.filter(({ kind }) => kind === 'user');
  const cgroup = others.filter(({ kind }) => kind === 'cgroup');
  if (user.length === 0 && (cgroup.length === 0 || !idMaps))
    return { byMonitor: others.filter(({ kind }) => kind !== 'cgroup'), between: [], byInit: cgroup, mounts };
  const foreign = others.filter(({ kind, isOwned = false }) => kind !== 'user' && !isOwned);
  return {
    byMonitor: [],
    between: [...foreign, ...user, ...others.filter(({ isOwned }) => isOwned)],
    byInit: [],
    mounts,
  };
}

/** What a process does that enters namespaces and goes on as the first one of the container. */
function stepsBetween(
  design: ContainerDesign,
  joined: readonly JoinedNamespace[],
  bornInto: readonly NamespaceKind[],
): Step[] {
  if (joined.length === 0) return [];
  const { namespaces, cgroupProcs } = design;
  const sharesPids = joined.some(({ kind }) => kind === 'pid');
  return [
    { op: 'dieWithParent' },
    ...cgroupProcs.map((procs): Step => ({ op: 'joinCgroup', procs })),
    // While the files of this process in procfs are its own.
    ...oomScoreSteps(design),
    ...(sharesPids ? [{ op: 'notDumpable' } as const] : []),
    ...setnsSteps(joined),
    {
      op: 'goOnIn',
      namespaces: [...(hasNewIds(namespaces) ? (['user'] as const) : []), ...bornInto],
      ...(namespaces.idMaps && { idMaps: namespaces.idMaps }),
    },
  ];
}

function setnsSteps(joined: readonly JoinedNamespace[]): Step[] {
  return joined.map(({ kind, fd }) => ({ op: 'setns', fd, namespaces: [kind] }));
}

/** What the first process of the container does. */
function initSteps(design: ContainerDesign, host: Host): Step[] {
  const { namespaces } = design;
  const { between, byInit, mounts } = inJoinOrder(namespaces);
  const program = mounts.length > 0 ? alreadyLabelled(design) : design;
  const isNew = (kind: NamespaceKind) => namespaces.created.includes(kind);
  return [
    { op: 'dieWithParent' },
    { op: 'processName', name: 'ns-init' },
    { op: 'newSession' },
    ...(namespaces.idMaps ? [] : design.cgroupProcs.map((procs): Step => ({ op: 'joinCgroup', procs }))),
    ...(between.length > 0 ? [] : oomScoreSteps(design)),
    // After joining: the namespace's root is the cgroup one is in when it is made.
    ...(isNew('cgroup') ? [{ op: 'unshare', namespaces: ['cgroup'] } as const] : []),
    ...setnsSteps(byInit),
    sessionKeyringStep(design),
    ...(isNew('net') ? [{ op: 'linkUp', name: 'lo' } as const] : []),
    // Modes of what is made below are exactly those given.
    { op: 'umask', mask: 0 },
    ...(design.root.kind === 'shared' ? sharedRootSteps(design) : ownRootSteps(design, host)),
    ...(design.programLater ? [{ op: 'lookUp', paths: earlyLookups(design.env) } as const] : []),
    ...(design.root.kind === 'shared' ? [] : handOverSteps(design)),
    ...(design.park ? [{ op: 'park', ...(design.journal && { journal: 'journal' }) } as const] : []),
    // With id maps not before now: the files of a process that refuses ptrace belong to the host's root, also to itself;
    // and while it is parked, programs of the user connect its network namespace, which they find there. Nothing of the
    // container runs yet.
    ...(namespaces.idMaps ? [{ op: 'notDumpable' } as const] : []),
    ...(design.init
      ? supervisedPayloadSteps(program, host)
      : [...terminalSteps(design), ...payloadSteps(program, host)]),
  ];
}

/** What this process, or a child of it, executes gets the label: nothing is left to be said in a procfs that it is not in. */
function alreadyLabelled(design: ContainerDesign): ContainerDesign {
  return { ...design, execLabel: undefined, initLabel: undefined, supervisorLabel: undefined };
}

/** A root of its own, which becomes "/". */
function ownRootSteps(design: ContainerDesign, host: Host): Step[] {
  return [
    { op: 'propagation', propagation: 'rslave' },
    ...mountSteps(design, host),
    // Through the procfs mounted above, while /proc/sys is still writable.
    ...parameterSteps(design),
    ...closedPathSteps(design, host),
    { op: 'pivotRoot' },
    ...standardStreamSteps(design),
    ...workingDirectorySteps(design, host),
  ];
}

/** The root of others, as it is. What this process is to find of itself in procfs it looks for before. */
function sharedRootSteps(design: ContainerDesign): Step[] {
  const { mounts } = inJoinOrder(design.namespaces);
  return [
    ...(design.sysctls.length > 0 ? [{ op: 'openProc' } as const] : []),
    ...parameterSteps(design),
    ...handOverSteps(design),
    ...(mounts.length > 0 ? execLabelSteps(design) : []),
    ...setnsSteps(mounts),
    ...standardStreamSteps(design),
    { op: 'workingDirectory', path: design.cwd, create: false },
  ];
}

/** Of the kernel, in its namespaces. */
function parameterSteps({ sysctls, namespaces, hostname, domainname }: ContainerDesign): Step[] {
  const named = namespaces.created.includes('uts');
  return [
    ...sysctls.map((sysctl): Step => ({ op: 'sysctl', ...sysctl })),
    ...(named ? [{ op: 'hostname', name: hostname } as const] : []),
    ...(named && domainname !== undefined ? [{ op: 'domainname', name: domainname } as const] : []),
  ];
}

/** For who looks after a container that is in a user namespace. */
function handOverSteps({ namespaces, park }: ContainerDesign): Step[] {
  if (!namespaces.idMaps || !park) return [];
  const { created, joined } = namespaces;
  const own = hasNewIds(namespaces) ? (['user', ...created] as const) : created;
  return [{ op: 'handOverNamespaces', namespaces: own, ...(joined.length > 0 && { joined }) }];
}

/** The program as a child of the first process, which stays as pid 1. */
function supervisedPayloadSteps(design: ContainerDesign, host: Host): Step[] {
  const { initLabel, supervisorLabel } = design;
  return [
    ...(initLabel ? [{ op: 'execLabel', ...initLabel } as const] : []),
    {
      op: 'clone',
      supervisor: 'init',
      namespaces: [],
      // Nobody makes a checkpoint of it, which the socket would be in the way of.
      ...(design.programLater && { tellEnd: true }),
      ...(supervisorLabel && { label: supervisorLabel }),
      child: [
        { op: 'newSession' },
        ...terminalSteps(design),
        ...payloadSteps(initLabel ? { ...design, execLabel: undefined } : design, host),
      ],
    },
  ];
}

/** The root, and all that is mounted in it. */
function mountSteps(design: ContainerDesign, host: Host): readonly Step[] {
  const { root, files, scratch, mounts, mountLabel } = design;
  const { idMaps } = design.namespaces;
  const context = { files, scratch, idMaps, lacksPlaces: lacksPlacesFor(design, host) };
  return withMountLabel([...rootSteps(root, context, host), ...fileSystemSteps(design), ...mounts], mountLabel);
}

/** Is something missing in a read-only root that mounts, or the program, are to be in? */
export function lacksPlacesFor({ root, mounts, cwd }: ContainerDesign, host: Host): boolean {
  if (root.writable !== 'none') return false;
  const isThere = (path: string) => root.layers.some((layer) => host.stat(join(layer, path)) !== undefined);
  const targets = mounts.flatMap((step) => ('target' in step ? [step.target] : []));
  return ![cwd, ...targets].every(isThere);
}

/** Where the program begins. What is mounted has got its place by now, so the root may be read-only from here on. */
function workingDirectorySteps(design: ContainerDesign, host: Host): Step[] {
  const { root, cwd: path, namespaces } = design;
  if (root.writable !== 'none') return [{ op: 'workingDirectory', path, create: true }];
  // An overlay without a place to write to is read-only by itself.
  const isOverlay = root.kind === 'overlay' && !isAssembled(root, namespaces.idMaps !== undefined);
  if (isOverlay && !lacksPlacesFor(design, host)) return [{ op: 'workingDirectory', path, create: false }];
  return [{ op: 'workingDirectory', path, create: true }, { op: 'readonlyRoot' }];
}

/** What of it nobody may see or change. */
function closedPathSteps({ root, maskedPaths, readonlyPaths, namespaces }: ContainerDesign, host: Host): Step[] {
  const userNamespace = namespaces.idMaps !== undefined;
  const masked = [...maskedPaths, ...hiddenByMask(root, userNamespace, host)];
  return [
    ...(masked.length > 0 ? [{ op: 'mask', paths: masked } as const] : []),
    ...(readonlyPaths.length > 0 ? [{ op: 'readonlyPaths', paths: readonlyPaths } as const] : []),
  ];
}

/** Directories on the way to something below /dev, outermost first. */
function parentsOf(name: string): string[] {
  const parts = name.split('/').slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
}

/** proc, sys, dev and what is below it. */
function fileSystemSteps(design: ContainerDesign): Step[] {
  // One that was named, in the place of one that everybody has, is it.
  const named = new Set(design.devices.map(({ name }) => name));
  const devices = [...deviceNodes.filter(({ name }) => !named.has(name)), ...design.devices];
  const userNamespace = design.namespaces.idMaps !== undefined;
  const secure = ['nosuid', 'nodev', 'noexec'] as const;
  return [
    { op: 'mount', type: 'proc', target: '/proc', options: {}, attributes: secure, plain: true, handle: 'proc' },
    // sysfs shows the network namespace it was mounted in; without one of our own it may be refused.
    {
      op: 'mount',
      type: 'sysfs',
      target: '/sys',
      options: {},
      attributes: design.sysReadonly ? ['ro', ...secure] : secure,
      plain: true,
      optional: userNamespace ? ['EPERM'] : [],
    },
    ...(design.visibleCgroup ? cgroupSteps(design.visibleCgroup) : []),
    {
      op: 'mountDev',
      options: { mode: '755', size: '65536k' },
      nodes: devices,
      links: deviceLinks,
      directories: [...new Set(['pts', 'shm', 'mqueue', ...devices.flatMap(({ name }) => parentsOf(name))])],
      bindNodes: userNamespace,
      // CAP_MKNOD is one of Docker's fourteen. With CAP_SYS_ADMIN it could mount a /dev of its own.
      sealed: (design.capabilities & CAP_SYS_ADMIN) === 0n,
    },
    {
      op: 'mount',
      type: 'devpts',
      target: '/dev/pts',
      options: { ptmxmode: '0666', mode: '0620', ...(userNamespace ? {} : { gid: '5' }) },
      attributes: ['nosuid', 'noexec'],
      plain: true,
      made: true,
    },
    sharedMemoryStep(design),
    // ENODEV: a kernel without POSIX message queues.
    {
      op: 'mount',
      type: 'mqueue',
      target: '/dev/mqueue',
      options: {},
      attributes: secure,
      plain: true,
      made: true,
      optional: ['ENODEV', 'EPERM'],
    },
  ];
}

/** Commands of a container share the keyring of its first program. */
export function sessionKeyringStep({
  id,
  namespaces,
  mayUseKeys,
}: Pick<ContainerDesign, 'id' | 'namespaces' | 'mayUseKeys'>): Step {
  // Names are of one user namespace. A command comes as the host's root, who is nobody in it.
  const joinableBy = namespaces.idMaps ? 'everybody' : 'user';
  return { op: 'sessionKeyring', name: `_ses.${id}`, joinableBy, required: mayUseKeys };
}
