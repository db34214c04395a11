import { join } from 'node:path';
import {
  type DeviceNode,
  helperName,
  type Leftovers,
  type MountStep,
  type NamespaceKind,
  type OutputFiles,
  type Step,
} from '@ns/launch';
import type { ContainerWarning } from '../container-warning.ts';
import type { Host } from '../host.ts';
import type { ResolvedRoot } from '../rootfs.ts';
import type { VisibleCgroup } from './cgroup-steps.ts';
import { earlyLookups } from './early-lookups.ts';
import { fileSystemSteps } from './file-system-steps.ts';
import { hasNewIds, inJoinOrder, type NamespaceDesign, setnsSteps, stepsBetween } from './joined-namespaces.ts';
import { withMountLabel } from './mount-label.ts';
import {
  execLabelSteps,
  mappedStreamSteps,
  oomScoreSteps,
  type PayloadDesign,
  payloadSteps,
  standardStreamSteps,
  terminalSteps,
} from './payload-plan.ts';
import { hiddenByMask, isAssembled, type PlacedFile, rootSteps, type ScratchUse } from './root-steps.ts';
import type { SharedMemory } from './shared-memory-step.ts';

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
  /** The monitor keeps the descriptor `lifeline` open until it ends. */
  readonly lifeline: boolean;
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
    ...mappedStreamSteps(design, namespaces.idMaps),
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
      ...(design.lifeline && { lifeline: 'lifeline' }),
      ...(design.output && { output: design.output }),
      child: [...stepsBetween(design, between, bornInto), ...initSteps(design, host)],
    },
  ];
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
