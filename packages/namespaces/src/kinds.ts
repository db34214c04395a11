import { type NamespaceKind, namespaceFlags } from '@ns/launch';
import { SpecError } from '@ns/libc';

/** The eight kinds, as `/proc/PID/ns` names them. */
export const namespaceKinds = Object.keys(namespaceFlags) as readonly NamespaceKind[];

const otherNames = { mount: 'mnt', network: 'net' } as const;

/** A kind by the kernel's name, or by the word that OCI and Docker use for it. */
export type NamespaceKindName = NamespaceKind | keyof typeof otherNames;

/**
 * The kernel's name of a kind.
 *
 * @throws SpecError for what is no kind
 *
 * @example
 * ```ts
 * namespaceKind('network'); // 'net'
 * ```
 */
export function namespaceKind(name: string, field = 'kind'): NamespaceKind {
  const kind = typeof name === 'string' ? (otherNames[name as keyof typeof otherNames] ?? name) : undefined;
  if (namespaceKinds.includes(kind as NamespaceKind)) return kind as NamespaceKind;
  throw new SpecError(field, `one of ${namespaceKinds.join(', ')}`, name);
}

/** The kind that a CLONE_NEW* flag stands for. */
export function kindOfFlag(flag: number): NamespaceKind | undefined {
  return namespaceKinds.find((kind) => namespaceFlags[kind] === flag);
}
