import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import type { Step } from '@ns/launch';
import { AsyncResourceStack, NsError, O, type OwnedFd, open, rollBack, SyscallError } from '@ns/libc';
import { createMount, resolveInRoot } from '@ns/mounts';
import { inMountNamespace, openContainerRoot, takeFromMountNamespace } from './in-mount-namespace.ts';
import { outsideId } from './mount-ownership.ts';
import type { BindMountSpec, MountSpec } from './mount-spec.ts';
import { assertMountable, isBelow } from './mount-target.ts';
import { copiedUp, type MountContext, mountSource, resolveMount, tmpfsOptions } from './mounts.ts';
import { withMountLabel } from './plan/mount-label.ts';
import { detach, prepareMounts } from './prepare-mounts.ts';
import { isEnding } from './process-identity.ts';
import type { RunHandle } from './run-handle.ts';
import { Turns } from './turns.ts';
import { volumeUser } from './volume-store.ts';

interface AddedMount extends AsyncDisposable {
  readonly mount: MountSpec;
  readonly target: string;
  /** Number of the mount in mountinfo. */
  readonly id: string;
}

/** What is in its place no more. */
interface RemovedMount {
  readonly added: AddedMount;
  /** The same mount, attached nowhere. Of one that the kernel does not copy there is none. */
  readonly copy: OwnedFd | undefined;
}

/** What was mounted in a container after its start. It ends with the container, like everything in its mount namespace. */
export class RunningMounts {
  #run: RunHandle | undefined;
  #added: AddedMount[] = [];
  readonly #turns = new Turns();
  #uses = 0;

  /** What was mounted there since the start. */
  at(target: string): MountSpec | undefined {
    return this.#added.findLast((added) => added.target === posix.resolve(target))?.mount;
  }

  /**
   * Unmounts and mounts, for the time that something else is done, and for good when that succeeds. When anything fails, what was
   * mounted goes, and what was unmounted is in its place again, with what is in it.
   */
  change(
    run: RunHandle,
    { add, remove }: { readonly add: readonly MountSpec[]; readonly remove: readonly string[] },
    act: () => Promise<void>,
  ): Promise<void> {
    return this.#turns.take(async () => {
      const undo = new AsyncResourceStack();
      const removed: RemovedMount[] = [];
      try {
        for (const target of remove) {
          const one = await this.#takeAway(run, target, { keep: true });
          removed.push(one);
          undo.defer(() => this.#putBack(run, one));
        }
        for (const mount of add) {
          await this.#add(run, mount);
          undo.defer(() => this.#remove(run, mount.target));
        }
        await act();
      } catch (error) {
        throw await rollBack(error, () => undo[Symbol.asyncDispose]());
      } finally {
        for (const { copy } of removed) copy?.close();
      }
      for (const { added } of removed) await added[Symbol.asyncDispose]();
    });
  }

  /** @throws what {@link change} throws, as far as it can be told without changing anything */
  check(
    run: RunHandle,
    { add, remove }: { readonly add: readonly MountSpec[]; readonly remove: readonly string[] },
  ): Promise<void> {
    return this.#turns.take(async () => {
      for (const target of remove) (await this.#find(run, target)).place.close();
      const changed = [...remove];
      for (const mount of add) {
        await rehearse(run, mount, changed);
        changed.push(mount.target);
      }
    });
  }

  /**
   * Mounts something in a running container.
   *
   * The mount is made here or in a copy of this mount namespace, attached nowhere; a process that enters the container's mount
   * namespace resolves the target inside its root and puts it there by descriptor (move_mount(2)): no link that the
   * container swaps leads outside.
   */
  add(run: RunHandle, mount: MountSpec): Promise<void> {
    return this.#turns.take(() => this.#add(run, mount));
  }

  /**
   * Takes away what {@link add} mounted.
   *
   * @throws NsError `ERR_NS_NOT_MOUNTED`: nothing was mounted there, or the container made the path lead elsewhere
   */
  remove(run: RunHandle, target: string): Promise<void> {
    return this.#turns.take(() => this.#remove(run, target));
  }

  async #add(run: RunHandle, mount: MountSpec): Promise<void> {
    this.#follow(run);
    const context = contextOf(run);
    const { id, root } = run.design;
    const prepared = await prepareMounts(volumeUser(id, ++this.#uses), root, [mount], context);
    try {
      using mounted = await attach(run, mount, context, prepared.fds);
      this.#added.push({
        mount,
        target: posix.resolve(mount.target),
        id: mountIdOf(mounted),
        [Symbol.asyncDispose]: () => prepared[Symbol.asyncDispose](),
      });
    } catch (error) {
      throw await rollBack(error, () => prepared[Symbol.asyncDispose]());
    }
    run.hold(prepared);
    // It may have given back already what it held.
    if (isEnding(run.launched)) await prepared[Symbol.asyncDispose]();
  }

  async #remove(run: RunHandle, target: string): Promise<void> {
    const { added } = await this.#takeAway(run, target);
    await added[Symbol.asyncDispose]();
  }

  async #takeAway(run: RunHandle, target: string, { keep = false } = {}): Promise<RemovedMount> {
    const found = await this.#find(run, target);
    const { added } = found;
    using place = found.place;
    const copy = keep ? await copyOf(run, place) : undefined;
    using proc = open('/proc', O.PATH | O.DIRECTORY);
    try {
      await inMountNamespace(run, {
        inside: [{ op: 'unmount', mount: target, proc: 'proc' }],
        fds: { [target]: place.fd, proc: proc.fd },
      });
    } catch (error) {
      copy?.close();
      throw error;
    }
    this.#added = this.#added.filter((mount) => mount !== added);
    return { added, copy };
  }

  async #find(run: RunHandle, target: string): Promise<{ readonly added: AddedMount; readonly place: OwnedFd }> {
    this.#follow(run);
    using root = await openContainerRoot(run);
    const place = openPlace(root, target);
    // By its number: a path that the container redirected could uncover what is masked.
    const id = place && mountIdOf(place);
    const added = this.#added.find((mount) => mount.target === posix.resolve(target) && mount.id === id);
    if (place && added) return { added, place };
    place?.close();
    throw new NsError('ERR_NS_NOT_MOUNTED', `nothing that mount() mounted is at ${target}`, {
      hint: 'Only what was mounted after the start can be unmounted, by the same path',
    });
  }

  async #putBack(run: RunHandle, { added, copy }: RemovedMount): Promise<void> {
    if (!copy) return this.#add(run, added.mount);
    const bind = bindOf(added.mount, resolveMount(added.mount, 0, contextOf(run)));
    await inMountNamespace(run, { inside: [{ ...bind, source: { fd: 'copy' } }], fds: { copy: copy.fd } });
    this.#added.push({ ...added, id: mountIdOf(copy) });
  }

  /** What another run had is gone. */
  #follow(run: RunHandle): void {
    if (this.#run !== run) this.#added = [];
    this.#run = run;
  }
}

/**
 * Makes all of a mount that can be made without a trace, and lets go of it.
 *
 * @param changed - places that will be others by then
 */
async function rehearse(run: RunHandle, mount: MountSpec, changed: readonly string[]): Promise<void> {
  const context = contextOf(run);
  const { id, root } = run.design;
  const step = resolveMount(mount, 0, context);
  const target = posix.resolve(mount.target);
  if (!changed.some((path) => isBelow(target, posix.resolve(path)))) {
    using rootFd = await openContainerRoot(run);
    assertMountable(rootFd, target, bindOf(mount, step).type);
  }
  // A volume would be made by that.
  if (mount.type === 'volume') return;
  await using prepared = await prepareMounts(volumeUser(id, 0), root, [mount], context);
  if (step.op !== 'file' && context.canCloneMounts) (await detachedMount(mount, context, prepared.fds)).close();
}

function openPlace(root: OwnedFd, target: string): OwnedFd | undefined {
  try {
    return resolveInRoot(root.fd, target);
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(error.code)) return undefined;
    throw error;
  }
}

/**
 * Puts a mount in its place.
 *
 * @returns a descriptor of it, by which it is known again: a path of the container may lead elsewhere at once
 */
async function attach(
  run: RunHandle,
  mount: MountSpec,
  context: MountContext,
  prepared: ReadonlyMap<string, OwnedFd>,
): Promise<OwnedFd> {
  const step = resolveMount(mount, 0, context);
  const bind = bindOf(mount, step);
  if (step.op !== 'file' && context.canCloneMounts) {
    const detached = await detachedMount(mount, context, prepared);
    try {
      await inMountNamespace(run, { inside: [{ ...bind, source: { fd: 'mount' } }], fds: { mount: detached.fd } });
      return detached;
    } catch (error) {
      detached.close();
      throw error;
    }
  }
  // What only the container's user namespace allows, or only an attached mount, is made by the process that attaches it.
  const handle = 'mount';
  const handOver: Step = { op: 'handOver', handle };
  if (step.op === 'mount') {
    const [labelled] = withMountLabel([{ ...step, handle }], context.mountLabel);
    return takeFromMountNamespace(run, { inside: [labelled!, handOver] });
  }
  const outside: Step =
    step.op === 'file'
      ? { op: 'detachFile', handle, content: step.content, mode: step.mode, ...ownerOf(step, context) }
      : {
          op: 'detachTree',
          handle,
          source: mountSource(mount as BindMountSpec, 0, context).path,
          recursive: bind.recursive,
        };
  return takeFromMountNamespace(run, { outside: [outside], inside: [{ ...bind, source: { handle } }, handOver] });
}

/** How something that is mounted nowhere is put in its place. */
function bindOf(
  { target }: MountSpec,
  step: ReturnType<typeof resolveMount>,
): Omit<Extract<Step, { op: 'bind' }>, 'source'> {
  return {
    op: 'bind',
    target,
    type: step.op === 'file' || (step.op === 'bind' && step.type === 'file') ? 'file' : 'directory',
    attributes: 'attributes' in step ? step.attributes : ['nosuid', 'nodev'],
    recursive: step.op === 'bind' && step.recursive,
    ...(step.op === 'bind' && step.propagation && { propagation: step.propagation }),
  };
}

function contextOf({ design }: RunHandle): MountContext {
  return {
    ids: { idMaps: design.namespaces.idMaps, user: design.user },
    canCloneMounts: process.geteuid!() === 0,
    mountLabel: design.mountLabel,
  };
}

/** A copy of a mount, and of those in it, attached nowhere. */
async function copyOf(run: RunHandle, place: OwnedFd): Promise<OwnedFd | undefined> {
  try {
    return await takeFromMountNamespace(run, {
      inside: [
        { op: 'detachTree', source: { fd: 'place' }, recursive: true, handle: 'copy' },
        { op: 'handOver', handle: 'copy' },
      ],
      fds: { place: place.fd },
    });
  } catch {
    return undefined;
  }
}

/** Root makes files as root of the host, an ordinary user as root of the container. */
function ownerOf(
  { uid, gid }: { readonly uid: number; readonly gid: number },
  context: MountContext,
): { uid: number; gid: number } {
  if (!context.canCloneMounts) return { uid, gid };
  return { uid: outsideId(context, 'uids', uid), gid: outsideId(context, 'gids', gid) };
}

async function detachedMount(
  mount: MountSpec,
  context: MountContext,
  prepared: ReadonlyMap<string, OwnedFd>,
): Promise<OwnedFd> {
  if (mount.type === 'tmpfs') {
    const filled = prepared.get(copiedUp(mount, 0) ?? '');
    if (filled) return sameMount(filled);
    const options = Object.entries(tmpfsOptions(mount, 0));
    const root = ownerOf({ uid: 0, gid: 0 }, context);
    return createMount({
      type: 'tmpfs',
      options: [
        ...Object.entries(root).map(([key, id]) => `${key}=${id}`),
        ...options.map(([key, value]) => (value === true ? key : `${key}=${value}`)),
        ...(context.mountLabel === undefined ? [] : [`context=${context.mountLabel}`]),
      ],
    });
  }
  const source = mountSource(mount as BindMountSpec, 0, context);
  const ready = source.handle === undefined ? undefined : prepared.get(source.handle);
  return ready ? sameMount(ready) : detach(source, mount as BindMountSpec);
}

/** Another descriptor of a detached mount, which stays once it is attached. Before Linux 6.15 such a mount cannot be cloned. */
function sameMount(mount: OwnedFd): OwnedFd {
  return open(mount.procPath, O.PATH);
}

function mountIdOf(place: OwnedFd): string {
  return /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${place.fd}`, 'utf8'))![1]!;
}
