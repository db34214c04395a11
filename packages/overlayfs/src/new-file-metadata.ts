import { check, chmodFd, type Stat, statFd } from '@ns/libc';
import { givesAcls } from './file-metadata.ts';

type Access = Pick<Stat, 'mode' | 'uid' | 'gid'>;

const PERMISSIONS = 0o777;

/**
 * Which new files of a directory have the right owner and mode from open(2) on, so that chown(2) and chmod(2) can be spared. That
 * depends on the umask, on the directory (setgid) and on the file system (`grpid`, squashed owners), so it
 * is not foretold: the first file is looked at, and those after it that shall be the same are believed.
 */
export class NewFileMetadata {
  readonly #maker = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  readonly #keepsOwner: boolean;
  #givesAcls = false;
  #last: { readonly wanted: Access; readonly right: boolean } | undefined;

  /** @param keepsOwner - owners count */
  constructor(keepsOwner: boolean) {
    this.#keepsOwner = keepsOwner;
  }

  /** The mode to make a file with: nobody but its maker can open it, unless it may be right at once. */
  modeFor(wanted: Access): number {
    const last = this.#same(wanted);
    return (last ? last.right : this.#mayBeRight(wanted)) ? wanted.mode & PERMISSIONS : 0o600;
  }

  /** Whether a file made with that mode, still empty, has its owner and mode already. */
  isRight(fd: number, wanted: Access, path: string): boolean {
    const last = this.#same(wanted);
    if (last) return last.right;
    const right = this.#mayBeRight(wanted) && this.#matches(statFd(fd), wanted);
    if (!right) check('fchmod', chmodFd(fd, 0o600), { path });
    this.#last = { wanted, right };
    return right;
  }

  /** Whether what is made in the directory gets ACLs from it. */
  get givesAcls(): boolean {
    return this.#givesAcls;
  }

  /** The next file is in another directory. */
  enter(directoryFd: number): void {
    this.#givesAcls = givesAcls(directoryFd);
    this.#last = undefined;
  }

  #same({ mode, uid, gid }: Access): { readonly right: boolean } | undefined {
    const { wanted } = this.#last ?? {};
    return wanted && wanted.mode === mode && wanted.uid === uid && wanted.gid === gid ? this.#last : undefined;
  }

  #mayBeRight({ mode, uid, gid }: Access): boolean {
    const isMaker = !this.#keepsOwner || (uid === this.#maker.uid && gid === this.#maker.gid);
    // Setuid and its like are for a file that has its content: writing takes them away.
    // Whom an ACL names could open the file before it is taken away.
    return isMaker && !this.#givesAcls && (mode & 0o7000) === 0;
  }

  #matches(found: Access, wanted: Access): boolean {
    return (
      (found.mode & 0o7777) === (wanted.mode & 0o7777) &&
      (!this.#keepsOwner || (found.uid === wanted.uid && found.gid === wanted.gid))
    );
  }
}
