import { NsError } from '@ns/libc';

/** What can be wrong with an archive or layer. */
export type ArchiveErrorCode =
  /** Not a tar archive, cut short, or damaged. */
  | 'ERR_NS_BAD_ARCHIVE'
  /** It tries to reach out of the directory it is unpacked in. */
  | 'ERR_NS_UNSAFE_ARCHIVE'
  /** More entries or bytes than allowed. */
  | 'ERR_NS_ARCHIVE_TOO_LARGE'
  /** A layer that cannot be written down as an archive. */
  | 'ERR_NS_UNREPRESENTABLE';

/** An archive that cannot, or must not, be unpacked or written. */
export class ArchiveError extends NsError {
  declare readonly code: ArchiveErrorCode;
  /** The entry it is about. */
  readonly path?: string;

  constructor(code: ArchiveErrorCode, message: string, options: { path?: string; hint?: string } = {}) {
    super(code, options.path === undefined ? message : `${JSON.stringify(options.path)}: ${message}`, {
      hint: options.hint,
    });
    if (options.path !== undefined) this.path = options.path;
  }
}
