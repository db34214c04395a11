import { check, O, type OwnedFd, open, SYS, syscall } from '@ns/libc';

/** <bits/fcntl-linux.h> */
const F_SETLEASE = 1024;
const F_SETSIG = 10;
const F_WRLCK = 1;
/** <signal.h>: SIGURG, which nobody minds, in the place of SIGIO, which ends a process. */
const SIGURG = 23;

/**
 * A lease on a file (fcntl(2), F_SETLEASE) until it is disposed of, by one who gives up nothing before: whoever opens the file
 * without O_NONBLOCK waits for the seconds of sysctl fs.lease-break-time. The file has to be this user's, and open to nobody.
 *
 * @example
 * ```ts
 * using _lease = new FileLease('/tmp/root/etc/hosts');
 * ```
 */
export class FileLease implements Disposable {
  readonly #file: OwnedFd;

  constructor(path: string) {
    this.#file = open(path, O.RDONLY | O.NOFOLLOW);
    for (const [command, value] of [
      [F_SETSIG, SIGURG],
      [F_SETLEASE, F_WRLCK],
    ] as const)
      check('fcntl', syscall(SYS.fcntl, this.#file.fd, command, value), { path });
  }

  /** Idempotent. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}
