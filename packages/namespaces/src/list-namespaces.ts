import { statSync } from 'node:fs';
import type { NamespaceKind } from '@ns/launch';
import { NsError, O, onlyKnownKeys, open, readDirectory, readlinkAt, SpecError } from '@ns/libc';
import { type NamespaceKindName, namespaceKind, namespaceKinds } from './kinds.ts';
import { listPins } from './list-pins.ts';
import { Namespace, type NamespaceId } from './namespace.ts';

/** A namespace that a process is in, or that is pinned somewhere. */
export interface NamespaceInfo {
  /** As `/proc/PID/ns` names it. */
  readonly kind: NamespaceKind;
  /** Device and inode of its file in nsfs. */
  readonly id: NamespaceId;
  /** As in `/proc/PID/ns`: `net:[4026531840]`. */
  readonly name: string;
  /** Pids of the processes in it that we may see, ascending. */
  readonly processes: readonly number[];
  /** Where it is mounted in our mount namespace. */
  readonly pins: readonly string[];
  /** Inode of the owning user namespace (for a user namespace: its parent); undefined when that is hidden from us. */
  readonly owner: number | undefined;
  /** Inode of the parent of a pid or user namespace; undefined when there is none in sight. */
  readonly parent: number | undefined;
}

/**
 * The namespaces on this machine with their processes, as lsns(8) lists them: reads `/proc/PID/ns` and `/proc/self/mountinfo`.
 * Processes of other users show only with CAP_SYS_PTRACE. Threads that are elsewhere than their process are not looked at.
 *
 * @param options - `kinds`: only these. Default: all eight
 * @returns by kind in the order of {@link namespaceKinds}, then by inode
 * @throws SpecError for an unknown kind
 *
 * @example
 * ```ts
 * const lines = listNamespaces({ kinds: ['net'] }).map(({ name, processes }) => `${name} ${processes.length}`);
 * ```
 */
export function listNamespaces(options: { readonly kinds?: readonly NamespaceKindName[] } = {}): NamespaceInfo[] {
  onlyKnownKeys(options, ['kinds'], '');
  if (options.kinds !== undefined && !Array.isArray(options.kinds))
    throw new SpecError('kinds', 'a list of kinds of namespaces', options.kinds);
  const kinds = options.kinds?.map((kind, index) => namespaceKind(kind, `kinds[${index}]`)) ?? namespaceKinds;
  const found = new Map<string, Found>();
  const at = (kind: NamespaceKind, inode: number): Found => {
    const name = `${kind}:[${inode}]`;
    const entry = found.get(name) ?? { kind, inode, processes: [], pins: [] };
    found.set(name, entry);
    return entry;
  };
  collectProcesses(kinds, at);
  for (const { kind, inode, path } of listPins()) if (kinds.includes(kind)) at(kind, inode).pins.push(path);

  const { dev: device } = statSync('/proc/self/ns/mnt');
  return [...found]
    .map(([name, entry]) => ({
      kind: entry.kind,
      id: { device, inode: entry.inode },
      name,
      processes: entry.processes.sort((a, b) => a - b),
      pins: entry.pins,
      ...relations(entry),
    }))
    .sort((a, b) => namespaceKinds.indexOf(a.kind) - namespaceKinds.indexOf(b.kind) || a.id.inode - b.id.inode);
}

interface Found {
  readonly kind: NamespaceKind;
  readonly inode: number;
  readonly processes: number[];
  readonly pins: string[];
}

function collectProcesses(kinds: readonly NamespaceKind[], at: (kind: NamespaceKind, inode: number) => Found): void {
  using proc = open('/proc', O.RDONLY | O.DIRECTORY);
  for (const { name: pid } of readDirectory(proc.fd)) {
    if (!/^\d+$/.test(pid)) continue;
    for (const kind of kinds) {
      const inode = inodeOf(proc.fd, `${pid}/ns/${kind}`);
      if (inode !== undefined) at(kind, inode).processes.push(Number(pid));
    }
  }
}

/** The number in a link like `net:[4026531840]`; undefined when the process has ended or is not ours to look at. */
function inodeOf(proc: number, link: string): number | undefined {
  try {
    const digits = readlinkAt(proc, link)?.match(/\[(\d+)\]$/)?.[1];
    return digits === undefined ? undefined : Number(digits);
  } catch (error) {
    if (error instanceof NsError && ['EACCES', 'EPERM', 'ESRCH'].includes(error.code)) return undefined;
    throw error;
  }
}

/** Owner and parent, asked of a namespace that may go away while we look. */
function relations({ kind, inode, processes, pins }: Found): Pick<NamespaceInfo, 'owner' | 'parent'> {
  const [pid, path] = [processes[0], pins[0]];
  try {
    using namespace = Namespace.open(kind, pid === undefined ? { path: path! } : { pid });
    if (namespace.id.inode !== inode) return { owner: undefined, parent: undefined };
    return {
      owner: inodeIfVisible(() => namespace.owner()),
      parent: kind === 'pid' || kind === 'user' ? inodeIfVisible(() => namespace.parent()) : undefined,
    };
  } catch (error) {
    if (error instanceof NsError) return { owner: undefined, parent: undefined };
    throw error;
  }
}

function inodeIfVisible(open: () => Namespace | undefined): number | undefined {
  try {
    using namespace = open();
    return namespace?.id.inode;
  } catch (error) {
    if (error instanceof NsError && error.code === 'EPERM') return undefined;
    throw error;
  }
}
