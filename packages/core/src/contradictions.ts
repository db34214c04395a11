import { isDeepStrictEqual } from 'node:util';
import { SpecError } from '@ns/libc';
import { saysMoreThanShared } from './shared-mounts.ts';
import type { ContainerSpec } from './types.ts';

/** What two fields say of one thing. */
type Contradiction = (spec: ContainerSpec) => SpecError | undefined;

/** Docker's name for limits, and the kernel's. */
const limitsTwice: Contradiction = ({ rlimits = {}, ulimits = {} }) => {
  const own: Readonly<Record<string, unknown>> = rlimits;
  const twice = Object.entries(ulimits).find(
    ([name, limit]) => limit !== undefined && own[name] !== undefined && !isDeepStrictEqual(own[name], limit),
  );
  if (!twice) return undefined;
  const [name, limit] = twice;
  return new SpecError(
    `ulimits.${name}`,
    `what rlimits.${name} says, or nothing`,
    limit,
    'Both are one limit: leave one of them out',
  );
};

const readonlyAndWritable: Contradiction = ({ rootfs, writable }) => {
  if (typeof rootfs !== 'object' || !('dir' in rootfs) || rootfs.readonly === undefined || writable === undefined)
    return undefined;
  if (rootfs.readonly === (writable === 'none')) return undefined;
  const expected = rootfs.readonly
    ? "'none', as rootfs.readonly is true"
    : 'a place to write to, as rootfs.readonly is false';
  return new SpecError('writable', expected, writable, 'Leave one of the two out');
};

const writableTwice: Contradiction = ({ rootfs, writable }) => {
  if (typeof rootfs !== 'object' || !('layers' in rootfs) || rootfs.writable === undefined || writable === undefined)
    return undefined;
  if (isDeepStrictEqual(rootfs.writable, writable)) return undefined;
  return new SpecError('writable', 'what rootfs.writable says, or nothing', writable, 'Leave one of the two out');
};

/** Docker refuses it for the host's, too. */
const nameOfOthers =
  (field: 'hostname' | 'domainname'): Contradiction =>
  ({ namespaces, [field]: name }) =>
    name === undefined || (namespaces?.uts ?? 'private') === 'private'
      ? undefined
      : new SpecError(field, 'nothing, as namespaces.uts is not its own', name, 'Leave one of the two out');

const contradictions: readonly Contradiction[] = [
  limitsTwice,
  readonlyAndWritable,
  writableTwice,
  nameOfOthers('hostname'),
  nameOfOthers('domainname'),
  saysMoreThanShared,
];

/** @throws SpecError two fields say different things, of which one would be ignored */
export function assertConsistent(spec: ContainerSpec): void {
  for (const find of contradictions) {
    const found = find(spec);
    if (found) throw found;
  }
}
