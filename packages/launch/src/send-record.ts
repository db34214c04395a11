import { MSG, SCM_RIGHTS, SOL_SOCKET } from '@ns/libc';
import type { Lowering } from './lowering.ts';
import type { Slot } from './program.ts';
import { RECORD_SIZE, type RecordKind, recordKinds } from './records.ts';

/**
 * Instructions that send a record to the caller, with a descriptor if there is one (SCM_RIGHTS). That the caller is gone
 * is no error: whoever must end then has PR_SET_PDEATHSIG.
 */
export function sendRecord(
  { asm, statusFd }: Lowering,
  record: { kind: RecordKind; value?: Slot; usage?: number },
  descriptor?: Slot,
): void {
  const size = record.usage === undefined ? 16 : RECORD_SIZE;
  const message = asm.words([recordKinds[record.kind], 0, ...Array<number>((size - 16) / 8).fill(0)]);
  if (record.value) asm.copy(message + 8, record.value.address, 8);
  if (record.usage !== undefined) asm.copy(message + 16, record.usage, size - 16);
  if (!descriptor) {
    asm.call('sendto', [statusFd, message, size, MSG.NOSIGNAL, 0, 0], { tolerate: 'any' });
    return;
  }
  const control = asm.words([20, SOL_SOCKET + SCM_RIGHTS * 2 ** 32, 0]); // struct cmsghdr, then the descriptor
  asm.copy(control + 16, descriptor.address, 4);
  const vector = asm.words([message, size]);
  const header = asm.words([0, 0, vector, 1, control, 24, 0]); // struct msghdr
  asm.call('sendmsg', [statusFd, header, MSG.NOSIGNAL], { tolerate: 'any' });
}
