import { randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { F_SEAL, memfd, O, type OwnedFd, open, SyscallError, UnavailableError } from '@ns/libc';
import { stages } from './generated/stage.ts';

let sealed: OwnedFd | undefined;

/**
 * The stage as an executable file that no container can change for another, not even through /proc/PID/exe
 * (CVE-2019-5736): a memfd with every seal, made once per thread. Where executable memfds are forbidden
 * (vm.memfd_noexec=2), a file that has no name any more and is used for one start only.
 *
 * @returns the caller closes it
 */
export function openStage(): OwnedFd {
  if (sealed && !sealed.closed) return sealed.duplicate();
  const stage = stages[process.arch as keyof typeof stages];
  if (!stage) {
    throw new UnavailableError(
      'starting processes',
      `there is no stage for ${process.arch}`,
      'Use an x86_64 or aarch64 machine',
    );
  }
  const bytes = Buffer.from(stage.base64, 'base64');
  try {
    sealed = memfd('ns-stage', bytes, {
      executable: true,
      seals: F_SEAL.SEAL | F_SEAL.SHRINK | F_SEAL.GROW | F_SEAL.WRITE,
    });
    return sealed.duplicate();
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== 'EACCES') throw error;
    return unnamedFile(bytes);
  }
}

function unnamedFile(bytes: Buffer): OwnedFd {
  const path = join(tmpdir(), `ns-stage-${randomUUID()}`);
  writeFileSync(path, bytes, { flag: 'wx', mode: 0o500 });
  try {
    return open(path, O.RDONLY | O.NOFOLLOW);
  } finally {
    rmSync(path);
  }
}
