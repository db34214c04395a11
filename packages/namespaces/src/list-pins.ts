import { readFileSync } from 'node:fs';
import type { NamespaceKind } from '@ns/launch';
import { unescapeMountField } from '@ns/libc';
import { namespaceKinds } from './kinds.ts';

/** A namespace mounted on a file. */
export interface Pin {
  readonly kind: NamespaceKind;
  readonly inode: number;
  readonly path: string;
}

/** The pins in our mount namespace: mounts of nsfs in `/proc/self/mountinfo`. */
export function listPins(): Pin[] {
  return parsePins(readFileSync('/proc/thread-self/mountinfo', 'utf8'));
}

/** The pins in the text of a mountinfo file, each path once. */
export function parsePins(mountinfo: string): Pin[] {
  const pins = new Map<string, Pin>();
  for (const line of mountinfo.split('\n')) {
    if (!line.includes(' - nsfs ')) continue;
    // id, parent, device, root within the file system, mount point, …: proc(5)
    const [, , , root = '', mountPoint = ''] = line.split(' ');
    const [, kind, inode] = /^([a-z]+):\[(\d+)\]$/.exec(root) ?? [];
    if (!kind || !namespaceKinds.includes(kind as NamespaceKind)) continue;
    const path = unescapeMountField(mountPoint);
    pins.set(path, { kind: kind as NamespaceKind, inode: Number(inode), path });
  }
  return [...pins.values()];
}
