import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stateDirectory, stateRoot } from '../state-root.ts';
import type { NetworkOptions } from './network-options.ts';

/* With what options a network was made: the driver's own records tell of what it became. */

export function readOptions(name: string): NetworkOptions | undefined {
  try {
    return JSON.parse(readFileSync(path(name), 'utf8')) as NetworkOptions;
  } catch {
    return undefined;
  }
}

/** Claims a name: of two that make a network of this name at a time, one gets EEXIST. */
export function claimOptions(options: NetworkOptions): void {
  stateDirectory('network-options');
  writeFileSync(path(options.name), JSON.stringify(options), { mode: 0o600, flag: 'wx' });
}

export function replaceOptions(options: NetworkOptions): void {
  const draft = `${path(options.name)}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(options), { mode: 0o600 });
  renameSync(draft, path(options.name));
}

/** Idempotent. */
export function removeOptions(name: string): void {
  rmSync(path(name), { force: true });
}

export function storedNames(): string[] {
  try {
    return readdirSync(join(stateRoot(), 'network-options'))
      .flatMap((file) => (file.endsWith(SUFFIX) ? [file.slice(0, -SUFFIX.length)] : []))
      .sort();
  } catch {
    return [];
  }
}

/** Its maker has had a minute to make the network. */
export function isOldClaim(name: string): boolean {
  const stat = statSync(path(name), { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > 60_000;
}

const SUFFIX = '.json';

function path(name: string): string {
  return join(stateRoot(), 'network-options', `${name}${SUFFIX}`);
}
