// Launches a program where AF_INET sockets are forbidden, as systemd's RestrictAddressFamilies= does: prints the error and
// the processes that are there then, as JSON.
import { allocate, PR, SYS, type SyscallError, syscall } from '@ns/libc';
import { processEntries } from '@ns/testing';
import { launch } from '../../src/index.ts';
import { monitoredPlan } from '../plans.ts';

const AF_INET = 2;
const EAFNOSUPPORT = 97;
const SECCOMP_SET_MODE_FILTER = 1;
// <linux/filter.h>, <linux/seccomp.h>
const [LOAD, JUMP_EQUAL, RETURN] = [0x20, 0x15, 0x06];
const [ALLOW, ERRNO] = [0x7fff0000, 0x00050000];

const instructions: readonly (readonly [code: number, ifTrue: number, ifFalse: number, value: number])[] = [
  [LOAD, 0, 0, 0],
  [JUMP_EQUAL, 0, 3, SYS.socket],
  [LOAD, 0, 0, 16],
  [JUMP_EQUAL, 0, 1, AF_INET],
  [RETURN, 0, 0, ERRNO + EAFNOSUPPORT],
  [RETURN, 0, 0, ALLOW],
];
const filter = allocate(8 * instructions.length);
instructions.forEach(([code, ifTrue, ifFalse, value], i) => {
  filter.bytes.writeUInt16LE(code, 8 * i);
  filter.bytes.writeUInt8(ifTrue, 8 * i + 2);
  filter.bytes.writeUInt8(ifFalse, 8 * i + 3);
  filter.bytes.writeUInt32LE(value, 8 * i + 4);
});
const program = allocate(16); // struct sock_fprog
program.bytes.writeUInt16LE(instructions.length, 0);
program.bytes.writeBigUInt64LE(BigInt(filter.address), 8);
syscall(SYS.prctl, PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0);
const installed = syscall(SYS.seccomp, SECCOMP_SET_MODE_FILTER, 0, program.address);

const codes: string[] = [];
for (let i = 0; i < 3; i++) {
  try {
    launch({ steps: monitoredPlan(['sleep', '60']) });
  } catch (error) {
    codes.push((error as SyscallError).code);
  }
}
const children = processEntries().filter(({ parent }) => parent === process.pid).length;
process.stdout.write(JSON.stringify({ installed, codes, children }));
