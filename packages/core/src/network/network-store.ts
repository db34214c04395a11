import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  fileCall,
  holdBriefly,
  isAlive,
  NsError,
  type ProcessIdentity,
  stateRoot,
  withDirectoryLockSync,
} from '@ns/libc';
import { identifySelf } from '../process-identity.ts';
import { stateDirectory } from '../state-root.ts';
import type { NetworkOptions } from './network-options.ts';

/* With what options a network was made: the driver's own records tell of what it became. */

/** Options, and the process that is making or removing the network. */
interface Stored extends NetworkOptions {
  readonly busy?: ProcessIdentity;
}

export function readOptions(name: string): NetworkOptions | undefined {
  const stored = read(name);
  if (!stored) return undefined;
  const { busy: _, ...options } = stored;
  return options;
}

/**
 * Claims a name for as long as this thread lives, or until {@link replaceOptions}.
 *
 * @returns what a process had claimed it for that died while it made or removed that network
 * @throws NsError `ERR_NS_NETWORK_EXISTS`
 */
export function claimOptions(options: NetworkOptions): NetworkOptions | undefined {
  const { name } = options;
  // Two who find the same dead claim would each take away the other's new one.
  return withDirectoryLockSync(stateDirectory('network-options'), () => {
    const holder = read(name);
    if (holder && (holder.busy === undefined || isAlive(holder.busy)))
      throw new NsError('ERR_NS_NETWORK_EXISTS', `network '${name}' exists already`, {
        hint: `Network.get('${name}'), or choose another name`,
      });
    const previous = readOptions(name);
    markBusy(options);
    return previous;
  });
}

/** Says that this thread is making or removing the network. */
export function markBusy(options: NetworkOptions): void {
  write({ ...options, busy: identifySelf() });
}

/** Takes over what is no network, unless a living process is making or removing it; whether it did. */
export function takeOver(name: string): boolean {
  return withDirectoryLockSync(stateDirectory('network-options'), () => {
    const options = readOptions(name);
    const { busy } = read(name) ?? {};
    if (!options || (busy && isAlive(busy))) return false;
    markBusy(options);
    return true;
  });
}

/** The network is there, with these options. */
export function replaceOptions(options: NetworkOptions): void {
  write(options);
}

/** Idempotent. */
export function removeOptions(name: string): void {
  rmSync(path(name), { force: true });
}

export function storedNames(): string[] {
  return namesIn(join(stateRoot(), 'network-options'))
    .flatMap((file) => (file.endsWith(SUFFIX) ? [file.slice(0, -SUFFIX.length)] : []))
    .sort();
}

function namesIn(directory: string): string[] {
  try {
    return holdBriefly(() => readdirSync(directory));
  } catch {
    return [];
  }
}

const SUFFIX = '.json';
/** Without a start time it is of a version before: its writer counts as dead. */
const DRAFT = /\.json\.(\d+)(?:\.(\d+))?$/;

function path(name: string): string {
  return join(stateRoot(), 'network-options', `${name}${SUFFIX}`);
}

function read(name: string): Stored | undefined {
  try {
    return JSON.parse(holdBriefly(() => readFileSync(path(name), 'utf8'))) as Stored;
  } catch {
    return undefined;
  }
}

/** Removes drafts whose writer has died. */
export function removeDrafts(): void {
  const directory = join(stateRoot(), 'network-options');
  for (const file of namesIn(directory)) {
    const [, pid, startTime] = DRAFT.exec(file) ?? [];
    if (pid && !isAlive({ pid: Number(pid), startTime: Number(startTime) }))
      rmSync(join(directory, file), { force: true });
  }
}

function write(stored: Stored): void {
  const [draft, file] = optionFiles(stored.name);
  fileCall(file, () => {
    writeFileSync(draft, JSON.stringify(stored), { mode: 0o600 });
    renameSync(draft, file);
  });
}

/** What this thread writes of a network: the draft, and what it becomes. */
export function optionFiles(name: string): [draft: string, file: string] {
  const { pid, startTime } = identifySelf();
  return [`${path(name)}.${pid}.${startTime}`, path(name)];
}
