import { types } from 'node:util';
import type { MountSpec } from './mount-spec.ts';
import type { ContainerSpec } from './types.ts';

/** A specification as it is on disk: without what was only for its maker, and without secrets. */
export type StoredSpec = Omit<ContainerSpec, 'stdin'>;

/** Leaves out input, and the content of files, which is promised never to reach a disk. */
export function specToStore({ stdin: _, mounts, ...spec }: ContainerSpec): StoredSpec {
  return mounts === undefined ? spec : { ...spec, mounts: mounts.map(withoutContent) };
}

/** A mount without the content of a file. */
export function withoutContent(mount: MountSpec): MountSpec {
  return mount.type === 'file' ? { ...mount, content: '' } : mount;
}

/** The key under which a regular expression of `wait` is on disk. */
const patternKey = '$regexp';

/** What has a specification in it as text: JSON, and regular expressions. */
export function toStoredText(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    types.isRegExp(one) ? { [patternKey]: [one.source, one.flags] } : one,
  );
}

/** What {@link toStoredText} wrote. @throws SyntaxError it is none of that */
export function fromStoredText(text: string): unknown {
  return JSON.parse(text, (_, one: unknown) => {
    const kept: unknown = Reflect.get(Object(one), patternKey);
    return Array.isArray(kept) ? new RegExp(String(kept[0]), String(kept[1])) : one;
  });
}
