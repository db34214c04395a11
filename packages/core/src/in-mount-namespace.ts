import { helperName, launch, type NamespaceKind, type Step } from '@ns/launch';
import { NsError, O, type OwnedFd, open, pidfdSendSignal, ResourceStack } from '@ns/libc';
import type { NamespaceDesign } from './plan/joined-namespaces.ts';
import type { RunHandle } from './run-handle.ts';

/** A container's run: the namespaces of its first process, by a pidfd or one by one. */
interface Target {
  readonly launched: Pick<RunHandle['launched'], 'pidfd'> & {
    readonly namespaces: ReadonlyMap<NamespaceKind, { readonly fd: number }>;
  };
  readonly design: { readonly namespaces: Pick<NamespaceDesign, 'idMaps'> };
}

/** What a helper process does besides entering a container's namespaces. */
export interface HelperWork {
  /** In a copy of this process's mount namespace, before it enters the container's: it holds what is made there. */
  readonly outside?: readonly Step[];
  /** In the container's mount namespace. Targets are resolved in its root. */
  readonly inside: readonly Step[];
  readonly fds?: Readonly<Record<string, number>>;
}

/**
 * Carries steps out in the mount namespace of a container, by a process that its own cannot see. An ordinary user may do
 * there what he may in the user namespace he made: he is its owner.
 */
export function inMountNamespace(run: Target, work: HelperWork): Promise<void> {
  return withHelper(run, work, async (helper) => {
    await helper.ready;
  });
}

/** The same, for a descriptor that the steps hand over. */
export function takeFromMountNamespace(run: Target, work: HelperWork): Promise<OwnedFd> {
  return withHelper(run, work, async (helper) => {
    const taken = await helper.scratch;
    try {
      await helper.ready;
      return taken;
    } catch (error) {
      taken.close();
      throw error;
    }
  });
}

/**
 * A descriptor of a container's root. /proc/PID/root is for those who may trace the process: for an ordinary user it is
 * not, while a process of the library is what has that pid.
 */
export async function openContainerRoot(run: Pick<RunHandle, 'launched' | 'design'>): Promise<OwnedFd> {
  if (process.geteuid!() === 0) {
    const { pid, pidfd } = run.launched;
    const root = open(`/proc/${pid}/root`, O.PATH | O.DIRECTORY);
    if (pidfdSendSignal(pidfd!.fd, 0)) return root;
    // Another process has got its pid.
    root.close();
    throw new NsError('ERR_NS_CONTAINER_NOT_RUNNING', 'the container has ended', { hint: 'Call restart()' });
  }
  return takeFromMountNamespace(run, { inside: [{ op: 'handOver', handle: 'root' }] });
}

async function withHelper<T>(
  { launched, design }: Target,
  { outside = [], inside, fds = {} }: HelperWork,
  use: (helper: ReturnType<typeof launch>) => Promise<T>,
): Promise<T> {
  const entersUser = design.namespaces.idMaps !== undefined;
  const mayMountHere = process.geteuid!() === 0;
  const namespaceFd = (kind: NamespaceKind) => (launched.namespaces.get(kind) ?? launched.pidfd!).fd;
  const user: Step[] = entersUser ? [{ op: 'setns', fd: 'user', namespaces: ['user'] }] : [];
  // What is missing on the way to a target belongs to the container's root.
  const asRoot: Step[] = entersUser ? [{ op: 'credentials', uid: 0, gid: 0 }] : [];
  const preparation: Step[] =
    outside.length === 0
      ? []
      : [
          { op: 'unshare', namespaces: ['mnt'] },
          { op: 'propagation', propagation: 'rslave' },
          { op: 'umask', mask: 0 },
          { op: 'mountScratch', options: { mode: '0755' } },
          ...outside,
        ];
  using owner = new ResourceStack();
  const helper = launch({
    stdio: ['null', 'null', 'null'],
    fds: { ...fds, mnt: namespaceFd('mnt'), ...(entersUser && { user: namespaceFd('user') }) },
    steps: [
      { op: 'endWithParent', parent: process.pid },
      { op: 'newSession' },
      { op: 'processName', name: helperName('ns-mount') },
      // Before a process of the container could look at it (CVE-2016-9962).
      { op: 'notDumpable' },
      // Root makes mounts as root of the host; an ordinary user is one only in the container's user namespace.
      ...(mayMountHere ? [...preparation, ...user] : [...user, ...preparation]),
      { op: 'setns', fd: 'mnt', namespaces: ['mnt'] },
      ...asRoot,
      { op: 'umask', mask: 0 },
      { op: 'openRoot' },
      ...inside,
      // The word that all is done.
      { op: 'park' },
    ],
  });
  owner.defer(() => helper.pidfd?.close());
  try {
    return await use(helper);
  } finally {
    helper.kill();
    await helper.exited;
  }
}
