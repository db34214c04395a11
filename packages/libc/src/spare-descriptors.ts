import { closeSync, openSync } from 'node:fs';
import { O } from './constants.ts';
import { ERRNO } from './errno.ts';
import { hasCode } from './errors.ts';
import { fileCall } from './file-call.ts';

/* Where a process has used up its descriptors much has to be taken apart, and most of that takes a descriptor for a moment:
   to look into a directory, to take a lock. So a few are held for it, through node:fs, which closes them with a worker. */

/** As many as take a child process of Node's: with a pipe for each of its streams, and one that tells whether it was started. */
const SPARES = 8;
const spares: number[] = [];
const openSpare = () => openSync('/', O.PATH | O.DIRECTORY);
let lent = 0;
refillSpares();

/** Holds the spare descriptors again, once they are not in use. */
export function refillSpares(): void {
  if (lent > 0) return;
  try {
    while (spares.length < SPARES) spares.push(openSpare());
  } catch {
    // There is none at present: at the next opportunity.
  }
}

/** @returns whether there is room for another descriptor now */
function freeSpare(): boolean {
  const spare = spares.pop();
  if (spare !== undefined) closeSync(spare);
  return spare !== undefined;
}

/**
 * Opens what is closed again in the same turn of the event loop, also when no descriptor is left.
 *
 * @param open - a descriptor or a negated errno
 */
export function openBriefly(open: () => number): number {
  const fd = open();
  return (fd === -ERRNO.EMFILE || fd === -ERRNO.ENFILE) && freeSpare() ? open() : fd;
}

/** The same where it throws: of one descriptor, which may be closed again by then. */
export function holdBriefly<Value>(open: () => Value): Value {
  try {
    return open();
  } catch (error) {
    if (!hasCode(error, 'EMFILE', 'ENFILE') || !freeSpare()) throw error;
  }
  try {
    return open();
  } finally {
    refillSpares();
  }
}

/**
 * Does something for which there are some descriptors even when this process has used up its own. What it opens it closes.
 *
 * @example
 * ```ts
 * import { rmSync } from 'node:fs';
 *
 * withSpareDescriptors(() => rmSync('/run/app/job', { recursive: true, force: true }));
 * ```
 */
export function withSpareDescriptors<Value>(act: () => Value): Value {
  lent++;
  while (freeSpare());
  try {
    return act();
  } finally {
    lent--;
    refillSpares();
  }
}

/**
 * Starts a child process of Node's. Where there are no descriptors for it, nobody is given one to listen to, and the error that
 * is emitted ends this process: so that is found out before.
 *
 * @throws SyscallError `EMFILE`, `ENFILE`
 *
 * @example
 * ```ts
 * import { spawn } from 'node:child_process';
 *
 * const child = withDescriptorsForChild(() => spawn('true'));
 * ```
 */
export function withDescriptorsForChild<Child>(start: () => Child): Child {
  return withSpareDescriptors(() => {
    const places: number[] = [];
    try {
      while (places.length < SPARES) places.push(fileCall('/', openSpare));
    } finally {
      for (const place of places) closeSync(place);
    }
    return start();
  });
}
