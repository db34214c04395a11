import { nearest } from '@ns/libc';

/** The hint for a word that is not among `names`, which all begin with `prefix`: `ALLOW` most likely is `SCMP_ACT_ALLOW`. */
export function didYouMean(word: unknown, prefix: string, names: Iterable<string>): string | undefined {
  if (typeof word !== 'string') return undefined;
  const bare = [...names].map((name) => name.slice(prefix.length));
  const near = nearest(word.toUpperCase().replace(prefix, ''), bare);
  return near && `Did you mean ${prefix}${near}?`;
}
