import { nearest, SpecError } from '@ns/libc';

/** The hint for a word that is not among `names`, which all begin with `prefix`: `ALLOW` most likely is `SCMP_ACT_ALLOW`. */
export function didYouMean(word: unknown, prefix: string, names: Iterable<string>): string | undefined {
  if (typeof word !== 'string') return undefined;
  const bare = [...names].map((name) => name.slice(prefix.length));
  const near = nearest(word.toUpperCase().replace(prefix, ''), bare);
  return near && `Did you mean ${prefix}${near}?`;
}

const plain = (key: string) => key.toLowerCase().replace(/_|s$/g, '');

/**
 * Refuses keys that look like misspelt ones of ours: without its `syscalls` a profile allows what its default allows. Others
 * are somebody's own and ignored, as runtimes do.
 *
 * @throws SpecError that names the key which was likely meant
 */
export function refuseMisspelt(
  object: Readonly<Record<string, unknown>>,
  keys: readonly string[],
  field: string,
): void {
  for (const key of Object.keys(object)) {
    if (keys.includes(key) || key === 'comment') continue;
    const alike = keys.filter((known) => known[0] === key[0]?.toLowerCase() && key.length > 5);
    const meant = keys.find((known) => plain(known) === plain(key)) ?? nearest(key, alike);
    if (meant) throw new SpecError(`${field}.${key}`, `one of ${keys.join(', ')}`, key, `Did you mean ${meant}?`);
  }
}
