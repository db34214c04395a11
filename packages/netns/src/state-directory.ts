import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AT_FDCWD,
  check,
  ERRNO,
  fileCall,
  hasCode,
  holdBriefly,
  stateDirectory as makeStateDirectory,
  RENAME,
  renameAt,
  SpecError,
} from '@ns/libc';

export { stateRoot } from '@ns/libc';

/** A directory of the state root, made when it is missing. Only the owner may look inside. */
export function stateDirectory(root: string, ...parts: string[]): string {
  for (const part of parts) checkStateName(part);
  return makeStateDirectory(root, ...parts);
}

/** Removes a directory of the state root. Idempotent. */
export function removeStateDirectory(root: string, ...parts: string[]): void {
  for (const part of parts) checkStateName(part);
  rmSync(join(root, ...parts), { recursive: true, force: true });
}

/** A name that is one component of a path. */
export function checkStateName(name: string, field = 'name'): string {
  if (typeof name !== 'string' || !/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name)) {
    throw new SpecError(
      field,
      'letters, digits, dots, dashes and underscores, a letter or digit first, at most 128',
      name,
    );
  }
  return name;
}

/** Where {@link writeJsonSync} writes before the file is whole. */
export function draftOf(path: string): string {
  return `${path}.${process.pid}.draft`;
}

/**
 * Writes JSON so that a reader sees the old or the new text, never half of one. Synchronous: a thread of libuv's may still make
 * something when this one was killed and what is entrusted is being removed.
 */
export function writeJsonSync(path: string, value: unknown): void {
  const draft = draftOf(path);
  const text = JSON.stringify(value);
  fileCall(draft, () => holdBriefly(() => writeFileSync(draft, text, { mode: 0o600 })));
  fileCall(draft, () => renameSync(draft, path));
}

/**
 * {@link writeJsonSync} of a file that is there: one that others remove meanwhile stays removed.
 *
 * @returns false: it is not there
 */
export function replaceJsonSync(path: string, value: unknown): boolean {
  const draft = draftOf(path);
  writeFileSync(draft, JSON.stringify(value), { mode: 0o600 });
  try {
    const result = renameAt(AT_FDCWD, draft, AT_FDCWD, path, RENAME.EXCHANGE);
    if (result === -ERRNO.ENOENT) return false;
    check('renameat2', result, { path: draft, dest: path });
    return true;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** {@link readJson} for small files of a tmpfs. */
export function readJsonSync(path: string): unknown {
  try {
    return JSON.parse(fileCall(path, () => holdBriefly(() => readFileSync(path, 'utf8'))));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

// Longer than any process takes between a draft and its rename.
const DRAFT_LIFE_MS = 60_000;

/** Removes drafts that a crash left in a directory. */
export function removeOldDrafts(directory: string): void {
  for (const name of fileCall(directory, () => holdBriefly(() => readdirSync(directory))).filter((file) =>
    file.endsWith('.draft'),
  )) {
    const path = join(directory, name);
    const mtimeMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
    if (mtimeMs !== undefined && Date.now() - mtimeMs > DRAFT_LIFE_MS) rmSync(path, { force: true });
  }
}

/** Reads JSON; `undefined` when there is no such file. */
export async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await fileCall(path, () => readFile(path, 'utf8')));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
