import { AF, MSG, SOCK } from '@ns/libc';
import type { Assembler, Label, Slot } from '../program.ts';
import type { Text } from './remove-link.ts';

/** Sends a netlink message to the kernel, which has done what it asks for when this returns; what it answers nobody reads. */
export function sendRequest(asm: Assembler, protocol: Slot, message: Text, next: Label): void {
  const socket = asm.slot();
  const kernel = asm.words([AF.NETLINK, 0]); // struct sockaddr_nl
  const type = SOCK.RAW | SOCK.CLOEXEC;
  asm.call('socket', [AF.NETLINK, type, protocol], { store: socket, tolerate: 'any', otherwise: next });
  const { at, length } = message;
  asm.call('sendto', [socket, at, length, MSG.NOSIGNAL, kernel, SOCKADDR_NL_SIZE], { tolerate: 'any' });
  asm.call('close', [socket]);
  asm.jump(next);
}

const SOCKADDR_NL_SIZE = 12;
