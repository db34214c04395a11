import { CLOCK_REALTIME, MSG, SCM_RIGHTS, SOL_SOCKET } from '@ns/libc';
import type { Lowering } from './lowering.ts';
import type { Slot } from './program.ts';
import { RECORD_SIZE, type RecordKind, recordKinds, TIME_OFFSET } from './records.ts';

/** What is told. */
export interface OutgoingRecord {
  readonly kind: RecordKind;
  readonly value?: Slot;
  /** Address of a struct rusage. */
  readonly usage?: number;
}

/**
 * Instructions that send a record to the caller, with a descriptor if there is one (SCM_RIGHTS). That the caller is gone
 * is no error: whoever must end then has PR_SET_PDEATHSIG.
 */
export function sendRecord({ asm, statusFd }: Lowering, record: OutgoingRecord, descriptor?: Slot): void {
  const size = record.usage === undefined ? 16 : RECORD_SIZE;
  const message = fillRecord(asm, record, size);
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

/** Instructions that append a record to a file. All are of one size there, and say when they were written. */
export function writeRecord({ asm }: Lowering, record: OutgoingRecord, fd: number): void {
  const message = fillRecord(asm, record, RECORD_SIZE);
  asm.call('clock_gettime', [CLOCK_REALTIME, message + TIME_OFFSET], { tolerate: 'any' });
  asm.call('write', [fd, message, RECORD_SIZE], { tolerate: 'any' });
}

function fillRecord(asm: Lowering['asm'], { kind, value, usage }: OutgoingRecord, size: number): number {
  const message = asm.words([recordKinds[kind], 0, ...Array<number>((size - 16) / 8).fill(0)]);
  if (value) asm.copy(message + 8, value.address, 8);
  if (usage !== undefined) asm.copy(message + 16, usage, size - 16);
  return message;
}
