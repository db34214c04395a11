import { readFileSync } from 'node:fs';

/**
 * How many times longer things may take here than on hardware: software emulation, as in the virtual machine of
 * `npm run test:vm`, says in its processor's name that it is one.
 */
export const slowness: number = readFileSync('/proc/cpuinfo', 'latin1').includes('QEMU TCG') ? 10 : 1;
