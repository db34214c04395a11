import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs';
import { posix } from 'node:path';
import { launch, type NamespaceKind, type Step } from '@ns/launch';
import { NsError, O, type OwnedFd, open, ResourceStack, SyscallError, UnavailableError } from '@ns/libc';
import { cloneMount, createMount, openRoot, resolveInRoot } from '@ns/mounts';
import { outsideId } from './mount-ownership.ts';
import type { FileMountSpec, MountSpec } from './mount-spec.ts';
import { type MountContext, mountSource, resolveMount } from './mounts.ts';
import { detach, prepareMounts } from './prepare-mounts.ts';
import type { RunHandle } from './run-handle.ts';
import { volumeUser } from './volume-store.ts';

interface AddedMount extends AsyncDisposable {
  readonly mount: MountSpec;
  readonly target: string;
  /** Number of the mount in mountinfo. */
  readonly id: string;
}

/** What was mounted in a container after its start. It ends with the container, like everything in its mount namespace. */
export class RunningMounts {
  #run: RunHandle | undefined;
  #added: AddedMount[] = [];
  #uses = 0;

  /** What was mounted there since the start. */
  at(target: string): MountSpec | undefined {
    return this.#added.findLast((added) => added.target === posix.resolve(target))?.mount;
  }

  /** Unmounts and mounts; what was mounted goes again when something fails. */
  async change(run: RunHandle, add: readonly MountSpec[], remove: readonly string[]): Promise<void> {
    for (const target of remove) await this.remove(run, target);
    const done: string[] = [];
    try {
      for (const mount of add) {
        await this.add(run, mount);
        done.unshift(mount.target);
      }
    } catch (error) {
      for (const target of done) await this.remove(run, target);
      throw error;
    }
  }

  /**
   * Mounts something in a running container.
   *
   * The mount is made here, attached nowhere; a process that enters the container's mount namespace resolves the target
   * inside its root and puts it there by descriptor (move_mount(2)): no link that the container swaps leads outside.
   */
  async add(run: RunHandle, mount: MountSpec): Promise<void> {
    this.#follow(run);
    const { design } = run;
    const context: MountContext = {
      ids: { idMaps: design.namespaces.idMaps, user: design.user },
      canCloneMounts: process.geteuid!() === 0,
    };
    if (!context.canCloneMounts)
      throw new UnavailableError(
        'mounting in a running container',
        'it takes CAP_SYS_ADMIN on the host',
        'Run as root, or name the mount in the specification',
      );
    const prepared = await prepareMounts(volumeUser(design.id, ++this.#uses), design.root, [mount], context);
    try {
      using detached = await makeDetached(mount, context, prepared.fds);
      const step = resolveMount(mount, 0, context);
      const bind: Step = {
        op: 'bind',
        source: { fd: 'mount' },
        target: mount.target,
        type: step.op === 'file' || (step.op === 'bind' && step.type === 'file') ? 'file' : 'directory',
        attributes: 'attributes' in step ? step.attributes : ['nosuid', 'nodev'],
        recursive: step.op === 'bind' && step.recursive,
        ...(step.op === 'bind' && step.propagation && { propagation: step.propagation }),
      };
      await inMountNamespace(run, [bind], { mount: detached.fd });
      this.#added.push({
        mount,
        target: posix.resolve(mount.target),
        id: mountIdOf(detached),
        [Symbol.asyncDispose]: () => prepared[Symbol.asyncDispose](),
      });
    } catch (error) {
      await prepared[Symbol.asyncDispose]();
      throw error;
    }
    run.hold(prepared);
  }

  /**
   * Takes away what {@link add} mounted.
   *
   * @throws NsError `ERR_NS_NOT_MOUNTED`: nothing was mounted there, or the container made the path lead elsewhere
   */
  async remove(run: RunHandle, target: string): Promise<void> {
    this.#follow(run);
    using root = openRoot(`/proc/${run.launched.pid}/root`);
    using place = openPlace(root, target);
    // By its number: a path that the container redirected could uncover what is masked.
    const id = place && mountIdOf(place);
    const added = this.#added.find((mount) => mount.target === posix.resolve(target) && mount.id === id);
    if (!place || !added)
      throw new NsError('ERR_NS_NOT_MOUNTED', `nothing that mount() mounted is at ${target}`, {
        hint: 'Only what was mounted after the start can be unmounted, by the same path',
      });
    using proc = open('/proc', O.PATH | O.DIRECTORY);
    await inMountNamespace(run, [{ op: 'unmount', mount: target, proc: 'proc' }], {
      [target]: place.fd,
      proc: proc.fd,
    });
    this.#added = this.#added.filter((mount) => mount !== added);
    await added[Symbol.asyncDispose]();
  }

  /** What another run had is gone. */
  #follow(run: RunHandle): void {
    if (this.#run !== run) this.#added = [];
    this.#run = run;
  }
}

function openPlace(root: OwnedFd, target: string): OwnedFd | undefined {
  try {
    return resolveInRoot(root.fd, target);
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(error.code)) return undefined;
    throw error;
  }
}

async function makeDetached(
  mount: MountSpec,
  context: MountContext,
  prepared: ReadonlyMap<string, OwnedFd>,
): Promise<OwnedFd> {
  if (mount.type === 'file') return detachedFile(mount, context);
  if (mount.type === 'tmpfs') {
    const step = resolveMount(mount, 0, context);
    const options = step.op === 'mount' ? Object.entries(step.options) : [];
    const root = { uid: outsideId(context, 'uids', 0), gid: outsideId(context, 'gids', 0) };
    return createMount({
      type: 'tmpfs',
      options: [
        ...Object.entries(root).map(([key, id]) => `${key}=${id}`),
        ...options.map(([key, value]) => (value === true ? key : `${key}=${value}`)),
      ],
    });
  }
  const source = mountSource(mount, 0, context);
  const ready = source.handle === undefined ? undefined : prepared.get(source.handle);
  return ready ? cloneMount(ready) : detach(source, mount);
}

/** A mount of one file, on a tmpfs of its own. */
function detachedFile({ content, mode = 0o444, uid = 0, gid = 0 }: FileMountSpec, context: MountContext): OwnedFd {
  const bytes = Buffer.from(content);
  using tmpfs = createMount({ type: 'tmpfs', options: ['mode=755', `size=${bytes.length + 65536}`, 'nr_inodes=3'] });
  const path = `${tmpfs.procPath}/file`;
  writeFileSync(path, bytes, { mode: 0o600 });
  chownSync(path, outsideId(context, 'uids', uid), outsideId(context, 'gids', gid));
  chmodSync(path, mode);
  try {
    return cloneMount(path);
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== 'EINVAL') throw error;
    throw new UnavailableError(
      'a file mounted in a running container',
      'this kernel does not clone a mount that is attached nowhere',
      'Use Linux 6.15 or later, or name the file in the specification, or use copyIn()',
    );
  }
}

function mountIdOf(place: OwnedFd): string {
  return /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${place.fd}`, 'utf8'))![1]!;
}

/** Carries steps out in the mount namespace of a container, by a process that its own cannot see. */
async function inMountNamespace(
  { launched, design }: RunHandle,
  steps: readonly Step[],
  fds: Readonly<Record<string, number>>,
): Promise<void> {
  const { idMaps, joined } = design.namespaces;
  const entersUser = idMaps !== undefined || joined.some(({ kind }) => kind === 'user');
  const kinds: NamespaceKind[] = [...(entersUser ? (['user'] as const) : []), 'mnt'];
  const namespaceFds = Object.fromEntries(
    kinds.map((kind) => [kind, (launched.namespaces.get(kind) ?? launched.pidfd!).fd]),
  );
  using owner = new ResourceStack();
  const helper = launch({
    stdio: ['null', 'null', 'null'],
    fds: { ...fds, ...namespaceFds },
    steps: [
      { op: 'endWithParent', parent: process.pid },
      { op: 'newSession' },
      { op: 'processName', name: 'ns-mount' },
      // Before a process of the container could look at it (CVE-2016-9962).
      { op: 'notDumpable' },
      ...kinds.map((kind): Step => ({ op: 'setns', fd: kind, namespaces: [kind] })),
      // What is missing on the way to a target belongs to the container's root.
      ...(entersUser ? [{ op: 'credentials', uid: 0, gid: 0 } as const] : []),
      { op: 'umask', mask: 0 },
      { op: 'openRoot' },
      ...steps,
      // The word that all is done.
      { op: 'park' },
    ],
  });
  owner.defer(() => helper.pidfd?.close());
  try {
    await Promise.race([helper.ready, helper.exited.then(({ failure }) => Promise.reject(failure))]);
  } finally {
    helper.kill();
    await helper.exited;
  }
}
