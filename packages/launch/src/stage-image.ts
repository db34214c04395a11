import { F_SEAL, memfd, type OwnedFd, UnavailableError } from '@ns/libc';
import { stages } from './generated/stage.ts';

let image: OwnedFd | undefined;

/**
 * The stage as an executable file that nobody can change, not even through /proc/PID/exe (CVE-2019-5736): a memfd with
 * every seal. Made once per thread, closed with it.
 */
export function stageImage(): OwnedFd {
  if (!image || image.closed) {
    const stage = stages[process.arch as keyof typeof stages];
    if (!stage)
      throw new UnavailableError(
        'starting processes',
        `there is no stage for ${process.arch}`,
        'Use an x86_64 or aarch64 machine',
      );
    image = memfd('ns-stage', Buffer.from(stage.base64, 'base64'), {
      executable: true,
      seals: F_SEAL.SEAL | F_SEAL.SHRINK | F_SEAL.GROW | F_SEAL.WRITE,
    });
  }
  return image;
}
