import { AT_FDCWD, MAGIC, O, RESOLVE, SpecError } from '@ns/libc';
import type { Lowering } from '../lowering.ts';
import { Label, Slot } from '../program.ts';

/**
 * Writes a short text to a file of our own in procfs, `self/oom_score_adj`.
 *
 * A label that is written into a file which only looks like procfs takes no effect, and nobody would notice. So /proc must be a
 * procfs, and nothing may be mounted between it and the file (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).
 */
export function writeProc(to: Pick<Lowering, 'asm'>, name: string, text: string): void {
  const { asm } = to;
  const file = openProc(to, name);
  asm.call('write', [file, asm.string(text), Buffer.byteLength(text)]);
  asm.call('close', [file]);
}

/** Opens a file of our own in procfs for writing, with the same care. */
export function openProc(to: Pick<Lowering, 'asm'>, name: string): Slot {
  const { asm } = to;
  const [proc, file] = [asm.slot(), asm.slot()];
  openProcfs(to, proc);
  asm.call('openat2', [proc, asm.string(name), asm.words([O.WRONLY | O.CLOEXEC, 0, WITHIN]), 24], { store: file });
  asm.call('close', [proc]);
  return file;
}

/** Opens what is mounted at /proc, which has to be a procfs. */
export function openProcfs({ asm }: Pick<Lowering, 'asm'>, into: Slot): void {
  const fileSystem = asm.bytes(120); // struct statfs, f_type first
  const genuine = new Label();
  asm.call('openat', [AT_FDCWD, asm.string('/proc'), O.PATH | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC], { store: into });
  asm.call('fstatfs', [into, fileSystem]);
  asm.jumpIfEqual(new Slot(fileSystem), MAGIC.PROC, genuine);
  asm.fail('EXDEV');
  asm.place(genuine);
}

/** The name that {@link openProc} takes for a path. */
export function procName(path: string): string {
  const [, name] = /^\/proc\/(.+)$/.exec(path) ?? [];
  if (name === undefined) throw new SpecError('file', 'a file in /proc', path);
  return name;
}

// `self` and `thread-self` are plain links, so links as such must be followed.
const WITHIN = RESOLVE.BENEATH | RESOLVE.NO_XDEV | RESOLVE.NO_MAGICLINKS;
