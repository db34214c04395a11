import { onlyKnownKeys, SpecError } from '@ns/libc';
import { CapabilitySet, checkCapabilitySet } from './capability-set.ts';
import { formatCapabilities, parseCapabilities } from './text-form.ts';

/** What a program file grants to who executes it: capabilities(7), "File capabilities". */
export interface FileCapabilities {
  /** What the program gets, within the bounding set of who executes it. */
  readonly permitted: CapabilitySet;
  /** Default: empty. */
  readonly inheritable?: CapabilitySet;
  /** The program finds all of them effective at its start, without asking. */
  readonly effective: boolean;
  /**
   * Version 3 of the format, since 4.14: they count in user namespaces whose root is this uid (as the initial user
   * namespace numbers it). Without it they count where the file system was mounted.
   */
  readonly rootId?: number;
}

// <linux/capability.h>: the revision is the top byte of the first word.
const VFS_CAP_REVISION_1 = 0x01000000;
const VFS_CAP_REVISION_2 = 0x02000000;
const VFS_CAP_REVISION_3 = 0x03000000;
const VFS_CAP_REVISION_MASK = 0xff000000;
const VFS_CAP_FLAGS_EFFECTIVE = 1;

const formats = new Map([
  [VFS_CAP_REVISION_1, { words: 1, size: 12, rootId: false }],
  [VFS_CAP_REVISION_2, { words: 2, size: 20, rootId: false }],
  [VFS_CAP_REVISION_3, { words: 2, size: 24, rootId: true }],
]);

/**
 * Reads the value of the extended attribute `security.capability` (struct vfs_ns_cap_data), versions 1 to 3.
 *
 * @throws SpecError for another version, or bytes that are too few or too many for theirs
 *
 * @example
 * ```ts
 * const value = encodeFileCapabilities(parseFileCapabilities('cap_net_raw=ep'));
 * decodeFileCapabilities(value).effective; // true
 * ```
 */
export function decodeFileCapabilities(bytes: Uint8Array): FileCapabilities {
  if (!(bytes instanceof Uint8Array)) throw new SpecError('security.capability', 'bytes', bytes);
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.length >= 4 ? view.readUInt32LE(0) : 0;
  const format = formats.get((magic & VFS_CAP_REVISION_MASK) >>> 0);
  if (!format || view.length !== format.size) {
    throw new SpecError('security.capability', 'struct vfs_cap_data of version 1, 2 or 3', view.toString('hex'));
  }
  const mask = (offset: number) =>
    Array.from({ length: format.words }, (_, i) => BigInt(view.readUInt32LE(offset + 8 * i)) << BigInt(32 * i)).reduce(
      (sum, word) => sum | word,
    );
  return {
    permitted: CapabilitySet.fromMask(mask(4)),
    inheritable: CapabilitySet.fromMask(mask(8)),
    effective: (magic & VFS_CAP_FLAGS_EFFECTIVE) !== 0,
    ...(format.rootId ? { rootId: view.readUInt32LE(20) } : {}),
  };
}

/**
 * Makes the value of `security.capability`: version 3 with a `rootId`, version 2 without.
 *
 * @throws SpecError for what is not of this shape, and a `rootId` that is no uid
 *
 * @example
 * ```ts
 * encodeFileCapabilities(parseFileCapabilities('cap_net_raw=ep', { rootId: 100000 })).length; // 24: version 3
 * ```
 */
export function encodeFileCapabilities(capabilities: FileCapabilities): Buffer {
  checkShape(capabilities);
  const { permitted, inheritable = CapabilitySet.empty, effective, rootId } = capabilities;
  const bytes = Buffer.alloc(rootId === undefined ? 20 : 24);
  const revision = rootId === undefined ? VFS_CAP_REVISION_2 : VFS_CAP_REVISION_3;
  bytes.writeUInt32LE((revision | (effective ? VFS_CAP_FLAGS_EFFECTIVE : 0)) >>> 0, 0);
  for (const half of [0, 1]) {
    const word = (set: CapabilitySet) => Number((set.mask >> BigInt(32 * half)) & 0xffffffffn);
    bytes.writeUInt32LE(word(permitted), 4 + 8 * half);
    bytes.writeUInt32LE(word(inheritable), 8 + 8 * half);
  }
  if (rootId !== undefined) bytes.writeUInt32LE(checkedRootId(rootId), 20);
  return bytes;
}

function checkShape(capabilities: unknown): void {
  onlyKnownKeys(capabilities, ['permitted', 'inheritable', 'effective', 'rootId'], 'capabilities');
  const { permitted, inheritable, effective } = capabilities;
  checkCapabilitySet(permitted, 'capabilities.permitted');
  if (inheritable !== undefined) checkCapabilitySet(inheritable, 'capabilities.inheritable');
  if (typeof effective !== 'boolean') throw new SpecError('capabilities.effective', 'true or false', effective);
}

function checkedRootId(rootId: number): number {
  // (uid_t) -1 is no user.
  if (Number.isInteger(rootId) && rootId >= 0 && rootId < 0xffffffff) return rootId;
  throw new SpecError('rootId', 'a uid, 0 to 4294967294', rootId);
}

/**
 * The text form, as setcap(8) takes it: `cap_net_raw=ep`.
 *
 * @throws SpecError for text that {@link parseCapabilities} refuses, and for an effective set that is neither empty nor
 *   all the others together, because a file has one bit for it (setcap drops silently what is effective only)
 *
 * @example
 * ```ts
 * writeFileCapabilities('/opt/bin/ping', parseFileCapabilities('cap_net_raw=ep'));
 * ```
 */
export function parseFileCapabilities(text: string, options: { readonly rootId?: number } = {}): FileCapabilities {
  onlyKnownKeys(options, ['rootId'], '');
  const { permitted, inheritable, effective } = parseCapabilities(text);
  const granted = permitted.union(inheritable);
  if (effective.size > 0 && !effective.equals(granted)) {
    const hint = 'A file has one bit that makes all its capabilities effective, or none';
    throw new SpecError('capabilities', 'e on all capabilities or on none', text, hint);
  }
  const rootId = options.rootId === undefined ? {} : { rootId: checkedRootId(options.rootId) };
  return { permitted, inheritable, effective: effective.size > 0, ...rootId };
}

/**
 * The text form, as getcap(8) prints it. `rootId` is not part of it.
 *
 * @throws SpecError for what is not of this shape
 *
 * @example
 * ```ts
 * formatFileCapabilities(parseFileCapabilities('net_raw=ep')); // 'cap_net_raw=ep'
 * ```
 */
export function formatFileCapabilities(capabilities: FileCapabilities): string {
  checkShape(capabilities);
  const { permitted, inheritable = CapabilitySet.empty, effective } = capabilities;
  const granted = effective ? permitted.union(inheritable) : CapabilitySet.empty;
  return formatCapabilities({ permitted, inheritable, effective: granted });
}
