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
import { oomScoreSteps, type PayloadDesign, payloadSteps, standardStreamSteps, terminalSteps } from './payload-plan.ts';
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
  /** Descriptors of existing ones, by name of the launch's `fds`. */
  readonly joined: readonly { readonly kind: NamespaceKind; readonly fd: string }[];
  readonly idMaps: IdMaps | undefined;
  readonly timeOffsets: { readonly monotonicNs: number; readonly boottimeNs: number } | undefined;
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
  return [
    ...(design.dieWithParent ? [{ op: 'endWithParent', parent: process.pid } as const] : []),
    { op: 'newSession' },
    { op: 'processName', name: helperName('ns-monitor') },
    // Before anything of the container can look at us (CVE-2016-9962). Children inherit it.
    ...(namespaces.idMaps ? [] : [{ op: 'notDumpable' } as const]),
    ...setnsSteps(namespaces.joined.filter((joined) => !isJoinedInside(joined, namespaces))),
    ...(namespaces.timeOffsets
      ? ([
          { op: 'unshare', namespaces: ['time'] },
          { op: 'timeOffsets', ...namespaces.timeOffsets },
        ] as const)
      : []),
    {
      op: 'clone',
      supervisor: 'monitor',
      namespaces: bornInto,
      ...(design.timeoutMs !== undefined && { timeoutMs: design.timeoutMs }),
      ...(design.cgroupFd && { intoCgroup: 'cgroup' }),
      ...(namespaces.idMaps && { idMaps: { ...namespaces.idMaps, cgroupProcs: design.cgroupProcs } }),
      leftovers: design.leftovers,
      ...(design.journal && { journal: 'journal' }),
      ...(design.output && { output: design.output }),
      child: initSteps(design, host),
    },
  ];
}

type JoinedNamespace = NamespaceDesign['joined'][number];

/**
 * Where cgroups are delegated, none can be entered from a namespace that it is not in (nsdelegate, cgroups(7)); from a user
 * namespace of its own the container can enter none of others.
 */
function isJoinedInside({ kind }: JoinedNamespace, { idMaps }: NamespaceDesign): boolean {
  return kind === 'cgroup' && !idMaps;
}

function setnsSteps(joined: readonly JoinedNamespace[]): Step[] {
  return joined.map(({ kind, fd }) => ({ op: 'setns', fd, namespaces: [kind] }));
}

/** What the first process of the container does. */
function initSteps(design: ContainerDesign, host: Host): Step[] {
  const { namespaces } = design;
  const isNew = (kind: NamespaceKind) => namespaces.created.includes(kind);
  return [
    { op: 'dieWithParent' },
    { op: 'processName', name: 'ns-init' },
    { op: 'newSession' },
    ...(namespaces.idMaps ? [] : design.cgroupProcs.map((procs): Step => ({ op: 'joinCgroup', procs }))),
    ...oomScoreSteps(design),
    // After joining: the namespace's root is the cgroup one is in when it is made.
    ...(isNew('cgroup') ? [{ op: 'unshare', namespaces: ['cgroup'] } as const] : []),
    ...setnsSteps(namespaces.joined.filter((joined) => isJoinedInside(joined, namespaces))),
    sessionKeyringStep(design),
    ...(isNew('net') ? [{ op: 'linkUp', name: 'lo' } as const] : []),
    // Modes of what is made below are exactly those given.
    { op: 'umask', mask: 0 },
    { op: 'propagation', propagation: 'rslave' },
    ...mountSteps(design, host),
    // Through the procfs mounted above, while /proc/sys is still writable.
    ...design.sysctls.map((sysctl): Step => ({ op: 'sysctl', ...sysctl })),
    ...(isNew('uts') ? [{ op: 'hostname', name: design.hostname } as const] : []),
    ...(isNew('uts') && design.domainname !== undefined
      ? [{ op: 'domainname', name: design.domainname } as const]
      : []),
    ...closedPathSteps(design, host),
    { op: 'pivotRoot' },
    ...standardStreamSteps(design),
    ...workingDirectorySteps(design, host),
    ...(design.programLater ? [{ op: 'lookUp', paths: earlyLookups(design.env) } as const] : []),
    ...(namespaces.idMaps && design.park
      ? [{ op: 'handOverNamespaces', namespaces: ['user', ...namespaces.created] } as const]
      : []),
    ...(design.park ? [{ op: 'park', ...(design.journal && { journal: 'journal' }) } as const] : []),
    // With id maps not before now: the files of a process that refuses ptrace belong to the host's root, also to itself;
    // and while it is parked, programs of the user connect its network namespace, which they find there. Nothing of the
    // container runs yet.
    ...(namespaces.idMaps ? [{ op: 'notDumpable' } as const] : []),
    ...(design.init ? supervisedPayloadSteps(design, host) : [...terminalSteps(design), ...payloadSteps(design, host)]),
  ];
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
