import type { NamespaceKind } from '@ns/launch';
import { NsError } from '@ns/libc';

/** A namespace that a thread of Node cannot enter. Code `ERR_NS_NOT_ENTERABLE`. */
export class NotEnterableError extends NsError {
  /** Of the namespace that was to be entered. */
  readonly kind: NamespaceKind;

  constructor(kind: NamespaceKind, why: string) {
    super('ERR_NS_NOT_ENTERABLE', `a ${kind} namespace cannot be entered by a thread of Node: ${why}`, {
      hint: `Run a program in it: enter({ target, namespaces: ['${kind}'] }, command), or a setns step of @ns/launch`,
    });
    this.kind = kind;
  }
}

/**
 * A namespace that is not what was expected. Codes `ERR_NS_NOT_A_NAMESPACE` (the file is none), `ERR_NS_WRONG_KIND`,
 * `ERR_NS_NOT_HIERARCHICAL` (a parent was asked of a kind that has none), `ERR_NS_NOT_PINNED` (nothing is pinned there).
 *
 * @example
 * ```ts
 * try {
 *   unpin('/etc/hostname');
 * } catch (error) {
 *   if (!(error instanceof NamespaceError && error.code === 'ERR_NS_NOT_PINNED')) throw error;
 * }
 * ```
 */
export class NamespaceError extends NsError {}

/** Ids for a user namespace that cannot be had. Codes `ERR_NS_IDS_EXHAUSTED`, `ERR_NS_LEASE_CORRUPT`, `ERR_NS_LEASE_BUSY`. */
export class IdAllocationError extends NsError {}
