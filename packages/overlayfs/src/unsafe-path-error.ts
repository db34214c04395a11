import { NsError } from '@ns/libc';

/** A path that would have to be followed through a link, or through something that is no directory. Code `ERR_NS_UNSAFE_PATH`. */
export class UnsafePathError extends NsError {
  readonly path: string;

  constructor(path: string, why: string, hint?: string) {
    super('ERR_NS_UNSAFE_PATH', `${JSON.stringify(path)}: ${why}`, {
      hint: hint ?? 'Name the place itself, without a link on the way',
    });
    this.path = path;
  }
}
