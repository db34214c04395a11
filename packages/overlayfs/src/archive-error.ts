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

const hints: Readonly<Record<ArchiveErrorCode, string>> = {
  ERR_NS_BAD_ARCHIVE: 'Compare it with its digest and fetch it again; tar --list shows how far it is whole',
  ERR_NS_UNSAFE_ARCHIVE: 'Do not unpack it elsewhere instead: made with care it has no such entries',
  ERR_NS_ARCHIVE_TOO_LARGE: 'Raise the limits if it comes from somebody you trust',
  ERR_NS_UNREPRESENTABLE: 'Remove the file, or leave it out',
};

/** An archive that cannot, or must not, be unpacked or written. */
export class ArchiveError extends NsError {
  declare readonly code: ArchiveErrorCode;
  /** The entry it is about. */
  readonly path?: string;

  constructor(code: ArchiveErrorCode, message: string, options: { path?: string; hint?: string } = {}) {
    super(code, options.path === undefined ? message : `${JSON.stringify(options.path)}: ${message}`, {
      hint: options.hint ?? hints[code],
    });
    if (options.path !== undefined) this.path = options.path;
  }
}
