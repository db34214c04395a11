import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileCall, hasCode, makeDirectories, NsError } from '@ns/libc';
import { fromStoredText, type StoredSpec, toStoredText } from '../stored-spec.ts';
import type { OutsideMount } from './outside-mounts.ts';

/** What CRIU has to be told again at each restore. */
export interface Checkpoint {
  readonly version: 1;
  readonly createdAt: string;
  /** Version of the CRIU that made the images. */
  readonly criu: string;
  readonly spec: StoredSpec;
  /** Its input was a pipe of the caller's. */
  readonly stdin: boolean;
  readonly tcpEstablished: boolean;
  readonly fileLocks: boolean;
  /** Pipes that led out of it: the descriptor of the program, and the inode by which the images name the pipe. */
  readonly pipes: readonly { readonly fd: number; readonly inode: number }[];
  /** Of an init, when there was one: its pipe to the monitor by inode, and its executable by CRIU's name. */
  readonly init: { readonly pipe: number; readonly executable: string } | undefined;
  readonly mounts: readonly OutsideMount[];
  /** Names of the scratch's upper layers that are below `files`. */
  readonly layers: readonly string[];
}

/** What is in the directory of a checkpoint. */
export const places = (directory: string) => ({
  /** Written last: without it there is no checkpoint. */
  manifest: join(directory, 'checkpoint.json'),
  images: join(directory, 'images'),
  files: join(directory, 'files'),
  dumpLog: join(directory, 'images/dump.log'),
  hook: join(directory, 'images/hook'),
});

/**
 * Makes the directory, for root alone: the memory of processes will be in it.
 *
 * @throws NsError `ERR_NS_CHECKPOINT_EXISTS`: something is in it; `ERR_NS_CHECKPOINT_UNSAFE`: it is somebody else's
 */
export function makeCheckpointDirectory(directory: string): void {
  makeDirectories(directory, 0o700);
  const { uid } = statSync(directory);
  // Its owner could put links in the way of what is written, and read the memory that is.
  if (uid !== process.geteuid!())
    throw new NsError('ERR_NS_CHECKPOINT_UNSAFE', `${directory} belongs to user ${uid}`, {
      hint: 'Give a directory of your own, or one that is not there yet',
    });
  if (readdirSync(directory).length > 0)
    throw new NsError('ERR_NS_CHECKPOINT_EXISTS', `${directory} is not empty`, {
      hint: 'Give each checkpoint a directory of its own',
    });
  chmodSync(directory, 0o700);
  mkdirSync(places(directory).images, { mode: 0o700 });
  mkdirSync(places(directory).files, { mode: 0o700 });
}

/** Takes away what was begun. */
export function emptyCheckpointDirectory(directory: string): void {
  const { manifest, images, files } = places(directory);
  for (const path of [manifest, images, files]) rmSync(path, { recursive: true, force: true });
}

/** Makes of a directory with images and files a checkpoint. */
export function writeCheckpoint(directory: string, checkpoint: Checkpoint): void {
  const { manifest } = places(directory);
  writeFileSync(`${manifest}.new`, toStoredText(checkpoint), { mode: 0o600 });
  renameSync(`${manifest}.new`, manifest);
}

/**
 * @throws NsError `ERR_NS_CHECKPOINT_NOT_FOUND`
 * @throws NsError `ERR_NS_CHECKPOINT_UNSAFE`: what is in it, with which privileges too, is for others to say
 */
export function readCheckpoint(directory: string): Checkpoint {
  const { manifest } = places(directory);
  try {
    const { uid, mode } = fileCall(directory, () => statSync(directory));
    if (uid !== process.geteuid!() || (mode & 0o022) !== 0)
      throw new NsError('ERR_NS_CHECKPOINT_UNSAFE', `others may write to ${directory}`, {
        hint: 'Restore only what this library wrote: chown it to root, chmod it to 0700, if it is that',
      });
    const checkpoint = fromStoredText(readFileSync(manifest, 'utf8')) as Checkpoint;
    if (checkpoint.version === 1) return checkpoint;
  } catch (cause) {
    if (!(cause instanceof SyntaxError) && !hasCode(cause, 'ENOENT')) throw cause;
  }
  throw new NsError('ERR_NS_CHECKPOINT_NOT_FOUND', `there is no checkpoint in ${directory}`, {
    hint: 'Give the directory that container.checkpoint() was given',
  });
}
