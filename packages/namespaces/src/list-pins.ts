import { readFileSync } from 'node:fs';
import type { NamespaceKind } from '@ns/launch';
import { namespaceKinds } from './kinds.ts';

/** A namespace mounted on a file. */
export interface Pin {
  readonly kind: NamespaceKind;
  readonly inode: number;
  readonly path: string;
}

/** The pins in our mount namespace: mounts of nsfs in `/proc/self/mountinfo`. */
export function listPins(): Pin[] {
  return parsePins(readFileSync('/proc/thread-self/mountinfo', 'latin1'));
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
    const path = unescapePath(mountPoint);
    pins.set(path, { kind: kind as NamespaceKind, inode: Number(inode), path });
  }
  return [...pins.values()];
}

/** Space, tab, newline and backslash are written as three octal digits. */
function unescapePath(text: string): string {
  const bytes = text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return Buffer.from(bytes, 'latin1').toString();
}
