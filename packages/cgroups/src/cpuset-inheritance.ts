import { readControlFile, writeControlFile } from './control-file.ts';

const files = ['cpuset.cpus', 'cpuset.mems'];

/**
 * Gives a new v1 cpuset the cpus and memory nodes of its parent: v1 makes them empty, and an empty one takes no process
 * (ENOSPC).
 */
export function inheritCpuset(parentFd: number, childFd: number): void {
  for (const file of files) {
    const present = readControlFile(childFd, file);
    if (typeof present !== 'string' || present.trim() !== '') continue;
    const inherited = readControlFile(parentFd, file);
    if (typeof inherited === 'string') writeControlFile(childFd, file, inherited.trim());
  }
}
