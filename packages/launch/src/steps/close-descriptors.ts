import type { Lowering } from '../lowering.ts';

/**
 * Closes all but what the payload shall have, the status socket, which reports a failing execve, and the pipe that tells of a
 * successful one by being closed. Both are close-on-exec.
 */
export function closeAllButReports(to: Lowering, kept: readonly number[] = []): void {
  const { asm, layout, statusFd, witnessFd } = to;
  closeBetween(asm, 3 + layout.extra, [statusFd, witnessFd, ...kept]);
}

/** The streams end when the last process of the container closes them, not when we do. */
export function closeAllBut({ asm }: Lowering, kept: readonly number[]): void {
  closeBetween(asm, 0, kept);
}

function closeBetween(asm: Lowering['asm'], first: number, kept: readonly number[]): void {
  let from = first;
  for (const fd of [...kept].sort((a, b) => a - b)) {
    if (fd > from) asm.call('close_range', [from, fd - 1, 0]);
    from = fd + 1;
  }
  asm.call('close_range', [from, 0xffffffff, 0]);
}
