import { ERRNO } from '@ns/libc';
import { readControlFile, writeControlFile } from './control-file.ts';

const files = ['cpuset.cpus', 'cpuset.mems'];

/** So often the parent's list may be another one by when it is written. */
const attempts = 50;

/**
 * Gives a new v1 cpuset the cpus and memory nodes of its parent: v1 makes them empty, and an empty one takes no process
 * (ENOSPC).
 */
export function inheritCpuset(parentFd: number, childFd: number): void {
  for (const file of files) {
    const present = readControlFile(childFd, file);
    if (typeof present === 'string' && present.trim() === '') inherit(parentFd, childFd, file);
  }
}

function inherit(parentFd: number, childFd: number, file: string): void {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const inherited = readControlFile(parentFd, file);
    if (typeof inherited !== 'string') return;
    if (writeControlFile(childFd, file, inherited.trim()) !== -ERRNO.EACCES) return;
  }
}
