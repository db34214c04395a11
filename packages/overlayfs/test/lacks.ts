import { existsSync } from 'node:fs';

/** Why a test that needs a program cannot run. */
export const lacks = (program: string): string | undefined =>
  [`/usr/bin/${program}`, `/usr/sbin/${program}`, `/sbin/${program}`].some((path) => existsSync(path))
    ? undefined
    : `${program} is not installed`;
