import { allocate, check, ERRNO, MSG, OwnedFd, SCM_RIGHTS, SOL_SOCKET, SYS, syscall } from '@ns/libc';
import { decodeRecord, RECORD_SIZE, type StageRecord } from './records.ts';

// One message at a time and thread: calls are synchronous, and what they leave here is decoded at once. One piece of
// memory, so that what points at what lives as long as it does: struct msghdr, iovec, cmsghdr with a descriptor, data.
const VECTOR = 56;
const CONTROL = VECTOR + 16;
const CONTROL_SIZE = 24;
const DATA = CONTROL + CONTROL_SIZE;
const message = allocate(DATA + RECORD_SIZE);

message.bytes.writeBigUInt64LE(BigInt(message.address + VECTOR), 16);
message.bytes.writeBigUInt64LE(1n, 24);
message.bytes.writeBigUInt64LE(BigInt(message.address + CONTROL), 32);
message.bytes.writeBigUInt64LE(BigInt(message.address + DATA), VECTOR);
message.bytes.writeBigUInt64LE(BigInt(RECORD_SIZE), VECTOR + 8);

/** A message of the stage; `record` is undefined when it is none that we know. */
export interface ReceivedRecord {
  readonly record: StageRecord | undefined;
  readonly fd: OwnedFd | undefined;
}

/** The next message on a status socket: `undefined` when there is none yet, `'end'` when there will be none. */
export function receiveRecord(status: number): ReceivedRecord | 'end' | undefined {
  const { bytes, address } = message;
  const receive = () => {
    bytes.writeUInt32LE(CONTROL_SIZE, 40);
    return syscall(SYS.recvmsg, status, address, MSG.DONTWAIT | MSG.CMSG_CLOEXEC);
  };
  let size = receive();
  // It has ended without having read what we sent. That is told first, and once; what it sent comes after.
  if (size === -ERRNO.ECONNRESET) size = receive();
  if (size === -ERRNO.EAGAIN) return undefined;
  if (size === 0 || size === -ERRNO.ECONNRESET) return 'end';
  check('recvmsg', size);
  const hasDescriptor =
    bytes.readUInt32LE(40) >= 20 &&
    bytes.readInt32LE(CONTROL + 8) === SOL_SOCKET &&
    bytes.readInt32LE(CONTROL + 12) === SCM_RIGHTS;
  return {
    record: decodeRecord(bytes.subarray(DATA, DATA + size)),
    fd: hasDescriptor ? new OwnedFd(bytes.readInt32LE(CONTROL + 16)) : undefined,
  };
}
