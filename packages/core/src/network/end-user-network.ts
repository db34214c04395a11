import { SIGNALS } from '@ns/launch';
import { isAlive, pidfdOpen, pidfdSendSignal, SyscallError } from '@ns/libc';
import type { ContainerState } from '../container-state.ts';

/**
 * Ends the program that connected a container whose maker is gone, when the container is gone, too: slirp4netns and the pasta
 * of Debian 12 do not notice by themselves. Idempotent.
 */
export function endUserNetwork({ init, userNetwork }: ContainerState): void {
  if (!userNetwork || (init && isAlive(init))) return;
  try {
    using program = pidfdOpen(userNetwork.pid);
    // Its number, at least, was not somebody else's when the descriptor was opened.
    if (isAlive(userNetwork)) pidfdSendSignal(program.fd, SIGNALS.SIGKILL);
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === 'ESRCH')) throw error;
  }
}
