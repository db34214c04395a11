import { allocate, check, type OwnedFd, SOL_SOCKET, SYS, socketPair, syscall } from '@ns/libc';

const SO_PASSCRED = 16; // <asm-generic/socket.h>

/** socketpair(2): for whoever reads from the second the kernel tells who has written, process and real ids (SCM_CREDENTIALS). */
export function credentialSockets(type: number): [OwnedFd, OwnedFd] {
  const pair = socketPair(type);
  const on = allocate(4);
  on.bytes.writeInt32LE(1);
  try {
    check('setsockopt', syscall(SYS.setsockopt, pair[1].fd, SOL_SOCKET, SO_PASSCRED, on.address, 4));
    return pair;
  } catch (error) {
    for (const end of pair) end.close();
    throw error;
  }
}
