// Enters a network namespace and gives up, in there, the capability that the way back needs.
import { writeSync } from 'node:fs';
import { allocate, LINUX_CAPABILITY_VERSION_3, SYS, syscall } from '@ns/libc';
import { Namespace } from '../../src/index.ts';

const net = Namespace.create('net');
try {
  net.enter(() => {
    const header = allocate(8);
    header.bytes.writeUInt32LE(LINUX_CAPABILITY_VERSION_3, 0);
    writeSync(1, `capset ${syscall(SYS.capset, header.address, allocate(24).address)}\n`);
  });
} catch {
  writeSync(1, 'caught\n');
} finally {
  writeSync(1, 'finally\n');
}
