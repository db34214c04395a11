import { readlinkSync } from 'node:fs';
import { namespaceChanges } from '@ns/libc';

/** What a namespace of this thread is, as a text; empty for a kind that the kernel does not have. */
export function namespaceLink(kind: string): string {
  try {
    return readlinkSync(`/proc/thread-self/ns/${kind}`);
  } catch {
    return '';
  }
}

/** Would a new process be born into another pid namespace than this one's? The first in one takes it along when it ends. */
export function hasChildrenElsewhere(): boolean {
  return namespaceLink('pid') !== namespaceLink('pid_for_children');
}

let network: { readonly changes: number; readonly link: string } | undefined;

/** The network namespace of this thread: to ask again costs nothing. */
export function networkNamespace(): string {
  const changes = namespaceChanges();
  if (network?.changes !== changes) network = { changes, link: namespaceLink('net') };
  return network.link;
}
