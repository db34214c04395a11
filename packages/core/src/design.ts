import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import {
  CapabilitySet,
  type CapabilityWarning,
  type ResolvedCapabilities,
  resolveCapabilities,
} from '@ns/capabilities';
import { type AbsentLimit, dockerName, parseSize } from '@ns/cgroups';
import { candidatesFor, type Leftovers, type MountStep, type OutputFiles } from '@ns/launch';
import { type ResourceStack, SpecError } from '@ns/libc';
import type { IdLease } from '@ns/namespaces';
import type { CgroupView } from './cgroup-view.ts';
import type { ContainerWarning } from './container-warning.ts';
import { defaultPath, defaultShmSize, maskedPaths, readonlyPaths } from './defaults.ts';
import { otherDevices, resolveDevices } from './devices.ts';
import { type Host, readHost } from './host.ts';
import { hostResolvers } from './host-resolvers.ts';
import type { OpenedWrites } from './kept-writes.ts';
import type { MountSpec } from './mount-spec.ts';
import { type MountContext, resolveMount } from './mounts.ts';
import { resolveNamespaces } from './namespaces.ts';
import type { ContainerNetwork } from './network/container-network.ts';
import { filesOnNetworkOfOthers } from './network/files-of-others.ts';
import { hostEntries, hostGatewayWord, networkFiles } from './network/network-files.ts';
import { wantsNetwork } from './network/network-spec.ts';
import type { UserContainerNetwork } from './network/user-container-network.ts';
import type { ContainerDesign } from './plan/container-plan.ts';
import { isAssembled, type PlacedFile } from './plan/root-steps.ts';
import type { PreparedMounts } from './prepare-mounts.ts';
import { resolveRlimits } from './rlimits.ts';
import { assertKeepsAll, resolveRoot } from './rootfs.ts';
import { allowsKeys, chooseFilter } from './seccomp-choice.ts';
import { confine, landlockStep, mountLabelOf } from './security-modules.ts';
import { resolveSharedMemory } from './shared-memory.ts';
import { sharesMounts } from './shared-mounts.ts';
import { resolveSysctls } from './sysctls.ts';
import type { ContainerSpec } from './types.ts';
import { resolveUser } from './user.ts';
import { resolveIdMaps } from './user-namespace.ts';

/** What a design needs from whoever starts it. */
export interface DesignContext {
  readonly id: string;
  readonly park: boolean;
  readonly programLater?: boolean;
  readonly scratch: ContainerDesign['scratch'];
  readonly nullFds: readonly number[];
  readonly pipeFds: readonly number[];
  readonly cgroup?: CgroupView | undefined;
  readonly leftovers: Leftovers;
  readonly journal: boolean;
  /** What the monitor does with the output. */
  readonly output?: OutputFiles | undefined;
  /** Load the default profile of a security module, for a start; without, it is a look at what a start would do. */
  readonly loadProfiles?: boolean;
  /** Host ids that are this container's alone. */
  readonly ids: IdLease | undefined;
  /** Made for it, and connected. */
  readonly network?:
    | (Pick<ContainerNetwork | UserContainerNetwork, 'fd' | 'files' | 'lifeline'> & {
        readonly hostGateway?: string | undefined;
      })
    | undefined;
  /** Detached mounts, by the names that steps use. Without, it is a plan for nobody to carry out. */
  readonly mounts?: Pick<PreparedMounts, 'fds' | 'layers'> | undefined;
  /** Where it writes to a directory that keeps it. */
  readonly kept?: Pick<OpenedWrites, 'name' | 'mount' | 'upper' | 'work'> | undefined;
  /** Receives descriptors that were opened, */
  readonly owner: ResourceStack;
  /** and their numbers under the names steps use. */
  readonly fds: Record<string, number>;
}

const ID_DIGITS = 64;
let drawn = '';
let used = 0;

/** 64 hexadecimal digits, as Docker's. Their randomness is drawn ahead of time. */
export function newId(): string {
  if (used === drawn.length) {
    drawn = randomBytes(64 * (ID_DIGITS / 2)).toString('hex');
    used = 0;
  }
  const from = used;
  used += ID_DIGITS;
  return drawn.slice(from, used);
}

/**
 * Decides everything a specification leaves open. Looks at the host; changes nothing there but what
 * {@link DesignContext.loadProfiles} says.
 */
export function designContainer(spec: ContainerSpec, context: DesignContext, host: Host = readHost()): ContainerDesign {
  const { privileged = false } = spec;
  const root = rootWithMounts(spec, context);
  const user = resolveUser(spec.user, spec.groups, root.layers);
  const idMaps = resolveIdMaps(spec, context.ids);
  const { network } = context;
  const namespaces = resolveNamespaces(spec, idMaps, context.owner, context.fds, network);
  const userNamespace = namespaces.idMaps !== undefined;
  if (isAssembled(root, userNamespace)) assertKeepsAll(root);
  // What is mounted then begins at the root of the namespace: without one of its own, at the host's.
  if (spec.cgroupAccess === 'delegated' && !namespaces.created.includes('cgroup'))
    throw new SpecError('cgroupAccess', "'readonly' without a cgroup namespace of its own", spec.cgroupAccess);
  const devices = devicesOf(spec, { userNamespace });
  const hostname = spec.hostname ?? context.id.slice(0, 12);
  const env = { PATH: defaultPath, HOSTNAME: hostname, HOME: user.home, ...spec.env };
  const { warnings, ...restrictions } = restrict(spec, context, { userNamespace, host });
  return {
    id: context.id,
    argv: spec.command,
    candidates: candidatesFor(spec.command[0]!, env.PATH),
    env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    cwd: spec.cwd ?? '/',
    user,
    hostname,
    domainname: spec.domainname,
    umask: spec.umask ?? 0o022,
    init: spec.init ?? true,
    root,
    files: filesFor(hostname, spec, { network, ownNamespace: namespaces.created.includes('net'), layers: root.layers }),
    namespaces,
    mounts: resolveMounts(spec, { ids: { idMaps, user }, canCloneMounts: host.uid === 0 }, context),
    devices,
    sharedMemory: resolveSharedMemory(spec, context.mounts?.fds, context.fds, host),
    shmBytes: parseSize(spec.shmSize ?? defaultShmSize, 'shmSize'),
    maskedPaths: spec.maskedPaths ?? (privileged ? [] : maskedPaths),
    readonlyPaths: spec.readonlyPaths ?? (privileged ? [] : readonlyPaths),
    // Where the host's own is read-only a user namespace may have no writable one, and there is little in it that it may write.
    sysReadonly: !privileged || userNamespace,
    sysctls: resolveSysctls(sysctlsBesides(network, spec), namespaces.created, { userNamespace }),
    rlimits: resolveRlimits(spec, host),
    oomScoreAdj: spec.oomScoreAdj,
    ...restrictions,
    warnings: [...warnings, ...(context.cgroup?.missing ?? []).map((limit) => notSet(limit, spec))],
    cgroupProcs: context.cgroup?.join.procs ?? [],
    cgroupFd: context.cgroup?.join.cloneInto ?? false,
    visibleCgroup: context.cgroup?.visible,
    timeoutMs: spec.timeout,
    dieWithParent: spec.lifetime?.dieWithParent ?? true,
    leftovers: context.leftovers,
    journal: context.journal,
    lifeline: network?.lifeline !== undefined,
    output: context.output,
    nullFds: context.nullFds,
    pipeFds: context.pipeFds,
    park: context.park,
    programLater: context.programLater ?? false,
    scratch: context.scratch,
    terminal: spec.tty ? { ...firstTerminal(spec), console: hasOwnConsole(spec, devices) } : undefined,
    denySetgroups: namespaces.idMaps?.denySetgroups ?? false,
  };
}

/** A terminal of the usual size: a container's own, or in mounts of others one of theirs. */
export function firstTerminal(spec: ContainerSpec): NonNullable<ContainerDesign['terminal']> {
  return { rows: 24, columns: 80, ...(sharesMounts(spec) && { orNode: true }) };
}

/** The root with what was mounted for it beforehand. */
function rootWithMounts(spec: ContainerSpec, { kept, mounts, fds }: DesignContext): ContainerDesign['root'] {
  const keptMount = kept?.mount && { mount: `kept writes of ${kept.name}`, upper: kept.upper, work: kept.work };
  if (keptMount) fds[keptMount.mount] = kept.mount.fd;
  const handles = mounts?.layers ?? [];
  for (const handle of handles) fds[handle] = mounts!.fds.get(handle)!.fd;
  return { ...resolveRoot(spec), handles, ...(keptMount && { kept: keptMount }) };
}

type Restrictions = Pick<
  ContainerDesign,
  | 'capabilities'
  | 'noNewPrivileges'
  | 'mayUseKeys'
  | 'seccomp'
  | 'landlock'
  | 'execLabel'
  | 'initLabel'
  | 'supervisorLabel'
  | 'mountLabel'
  | 'warnings'
>;

/** What its program may do: capabilities, system calls, and what security modules say. */
function restrict(
  spec: ContainerSpec,
  { loadProfiles = false, owner, fds }: DesignContext,
  { userNamespace, host }: { userNamespace: boolean; host: Host },
): Restrictions {
  const { privileged = false, seccomp = privileged ? 'unconfined' : undefined } = spec;
  const { set, warnings } = capabilitiesOf(spec, { userNamespace, host });
  const confinement = confine(spec, { uid: host.uid, load: loadProfiles });
  const filter = chooseFilter(seccomp, [...set.names()], Object.keys(spec.onSyscall ?? {}));
  return {
    capabilities: set.mask,
    noNewPrivileges: spec.noNewPrivileges ?? !privileged,
    mayUseKeys: allowsKeys(filter),
    seccomp: filter && { filter, flags: filter.flags, listener: filter.notifies },
    landlock: landlockStep(spec.landlock, owner, fds),
    execLabel: confinement.label,
    initLabel: confinement.initLabel,
    supervisorLabel: confinement.supervisorLabel,
    mountLabel: mountLabelOf(spec),
    warnings: [...warnings.map(notGranted), ...confinement.warnings],
  };
}

function capabilitiesOf(
  { privileged, capabilities }: ContainerSpec,
  { userNamespace, host }: { userNamespace: boolean; host: Host },
): ResolvedCapabilities {
  const request = privileged ? { add: ['ALL'], ...(Array.isArray(capabilities) ? {} : capabilities) } : capabilities;
  // In a user namespace of its own it has those over what that owns, whatever the host grants.
  return resolveCapabilities(request, userNamespace ? CapabilitySet.all() : CapabilitySet.fromMask(host.boundingSet));
}

/** Unless something else is wanted there, /dev/console is its terminal. */
function hasOwnConsole(spec: ContainerSpec, devices: ContainerDesign['devices']): boolean {
  const targets = (spec.mounts ?? []).map(({ target }) => posix.resolve(target));
  const isTaken =
    devices.some(({ name }) => name === 'console') || ['/dev', '/dev/console'].some((path) => targets.includes(path));
  return !isTaken && !sharesMounts(spec);
}

/** A user namespace could only bind those of the host, whose modes let nobody in it use them. */
function devicesOf(spec: ContainerSpec, { userNamespace }: { userNamespace: boolean }): ContainerDesign['devices'] {
  const named = resolveDevices(spec.devices);
  const hasAll = spec.privileged && !userNamespace && !sharesMounts(spec);
  return hasAll ? [...named, ...otherDevices(named)] : named;
}

function notSet({ field, why, fix }: AbsentLimit, { limits }: ContainerSpec): ContainerWarning {
  const name = dockerName(field, limits);
  return { code: 'NS_LIMIT_NOT_SET', name, message: `${name} is not set: ${why}`, ...(fix && { hint: fix }) };
}

function notGranted({ capability, message }: CapabilityWarning): ContainerWarning {
  return { code: 'NS_CAPABILITY_NOT_GRANTED', name: capability, message };
}

function resolveMounts(
  { mounts = [] }: ContainerSpec,
  mountContext: MountContext,
  { mounts: prepared, fds }: Pick<DesignContext, 'mounts' | 'fds'>,
): MountStep[] {
  // As in Docker, in whatever order they are given: what is mounted below another mount is in it, not hidden by it.
  const depth = ({ target }: MountSpec) => posix.resolve(target).split('/').length;
  const steps = mounts
    .map((mount, index) => ({ mount, step: resolveMount(mount, index, mountContext) }))
    .toSorted((a, b) => depth(a.mount) - depth(b.mount))
    .map(({ step }) => step);
  for (const step of steps)
    if (step.op === 'bind' && typeof step.source !== 'string' && 'fd' in step.source)
      fds[step.source.fd] = prepared?.fds.get(step.source.fd)?.fd ?? -1;
  return steps;
}

/** /etc/hostname, /etc/hosts and /etc/resolv.conf, as Docker gives them. */
function filesFor(
  hostname: string,
  spec: ContainerSpec,
  {
    network,
    ownNamespace,
    layers,
  }: Pick<DesignContext, 'network'> & { readonly ownNamespace: boolean; readonly layers: readonly string[] },
): PlacedFile[] {
  const { extraHosts, dns } = spec;
  // Without a network there is none yet where the plan is only explained.
  const noGateway = network ? network.hostGateway === undefined : !wantsNetwork(spec);
  if (noGateway && hostEntries(extraHosts ?? {}).some(([, address]) => address === hostGatewayWord))
    throw new SpecError(
      'extraHosts',
      'addresses',
      extraHosts,
      "'host-gateway' is the address of this machine on a bridge or vxlan: give the container such a network, or write the address",
    );
  const ownHostname = { path: '/etc/hostname', content: `${hostname}\n` };
  if (!network && !ownNamespace) {
    // On the network of others it has the files of its root, unless it is to know more.
    const files = filesOnNetworkOfOthers(spec, layers);
    return files.length > 0 ? [ownHostname, ...files] : [];
  }
  const known = {
    names: [hostname],
    addresses: [],
    nameservers: [],
    ...(extraHosts && { extraHosts }),
    ...(dns && { dns }),
  };
  const files = network?.files ?? networkFiles(known);
  const resolvers = files.some(({ path }) => path === '/etc/resolv.conf') ? [] : hostResolvers();
  return [ownHostname, ...files, ...resolvers];
}

/** The parameters of a network namespace that was made for the container are set already. */
function sysctlsBesides(network: DesignContext['network'], { sysctls = {} }: ContainerSpec): ContainerSpec['sysctls'] {
  const isSet = network?.fd !== undefined;
  return isSet ? Object.fromEntries(Object.entries(sysctls).filter(([name]) => !/^net[./]/.test(name))) : sysctls;
}
