import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { withDescriptorsForChild } from '@ns/libc';
import { parseMountinfo } from '@ns/mounts';
import { snapshotContainer } from '../container-changes.ts';
import type { ContainerOverlay } from '../container-overlays.ts';
import type { RunHandle } from '../run-handle.ts';
import { specToStore } from '../stored-spec.ts';
import type { ContainerSpec } from '../types.ts';
import {
  type Checkpoint,
  emptyCheckpointDirectory,
  makeCheckpointDirectory,
  places,
  writeCheckpoint,
} from './checkpoint-directory.ts';
import { CheckpointError } from './checkpoint-error.ts';
import { type Criu, networkLock } from './criu.ts';
import { DumpHook } from './dump-hook.ts';
import { addInitExecutable, type InitExecutable, initExecutableOf } from './init-executable.ts';
import { outsideMounts } from './outside-mounts.ts';

/** What of a container shall be written down, and how. */
export interface DumpOptions {
  readonly directory: string;
  readonly leaveRunning?: boolean | undefined;
  readonly tcpEstablished?: boolean | undefined;
  readonly fileLocks?: boolean | undefined;
}

/** The container's network namespace in the images. */
export const NETWORK_KEY = 'network';

/** Whom to ask besides CRIU, while all processes of the container are held still. */
export interface Dumped {
  readonly spec: ContainerSpec;
  readonly run: RunHandle;
  readonly overlays: readonly ContainerOverlay[];
  /** The last moment at which anything can be said about its end. */
  readonly beforeEnd: () => Promise<unknown>;
}

/**
 * Writes processes and files of a container into a directory. When it fails, the container goes on as before, and the
 * directory is empty again.
 *
 * @throws CheckpointError
 */
export async function dumpContainer(criu: Criu, container: Dumped, options: DumpOptions): Promise<void> {
  const { directory, leaveRunning = false } = options;
  makeCheckpointDirectory(directory);
  try {
    const executable = (container.spec.init ?? true) ? initExecutableOf(container.run.launched.pid!) : undefined;
    const checkpoint = describe(criu, container, executable, options);
    await runDump(criu, container, checkpoint, options, async () => {
      await snapshotContainer(container.overlays, places(directory).files, undefined);
      if (executable?.isMapped) addInitExecutable(places(directory).images, executable.name);
      writeCheckpoint(directory, checkpoint);
      if (!leaveRunning) await container.beforeEnd();
    });
  } catch (error) {
    emptyCheckpointDirectory(directory);
    throw error;
  }
}

function describe(
  { version }: Criu,
  { spec, run, overlays }: Dumped,
  executable: InitExecutable | undefined,
  { tcpEstablished = false, fileLocks = false }: DumpOptions,
): Checkpoint {
  const pid = run.launched.pid!;
  return {
    version: 1,
    createdAt: new Date().toISOString(),
    criu: version,
    // The name that its processes know must stay that of its files, whichever id it gets.
    spec: { ...specToStore(spec), hostname: run.design.hostname },
    stdin: run.design.nullFds.length === 0,
    tcpEstablished,
    fileLocks,
    pipes: run.streams.pipes.flatMap((inode, fd) => (inode === undefined ? [] : [{ fd, inode }])),
    init: executable && { pipe: pipeOf(pid), executable: executable.name },
    mounts: outsideMounts(parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'))),
    layers: overlays.map(({ scratchName }) => scratchName),
  };
}

/** An init has one descriptor: the pipe to its monitor. */
function pipeOf(pid: number): number {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  return Number(links.map((link) => /^pipe:\[(\d+)\]$/.exec(link)?.[1]).find((inode) => inode !== undefined));
}

async function runDump(
  criu: Criu,
  { run }: Dumped,
  checkpoint: Checkpoint,
  { directory, leaveRunning = false }: DumpOptions,
  whileHeld: () => Promise<void>,
): Promise<void> {
  const { images, dumpLog, hook: script } = places(directory);
  using hook = new DumpHook(script, whileHeld);
  const arguments_ = dumpArguments(criu, run.launched.pid!, checkpoint, { images, script, leaveRunning });
  const subprocess = withDescriptorsForChild(() =>
    spawn(criu.path, arguments_, { stdio: ['ignore', 'ignore', 'pipe'] }),
  );
  const ended = once(subprocess, 'close');
  const stderr = subprocess.stderr!.setEncoding('utf8').toArray();
  const [exitCode] = await ended;
  if (hook.refusal) throw hook.refusal.error;
  if (exitCode === 0) return;
  throw new CheckpointError(
    'ERR_NS_CHECKPOINT_FAILED',
    'the container could not be checkpointed',
    logOf(dumpLog, (await stderr).join('')),
  );
}

function dumpArguments(
  criu: Criu,
  pid: number,
  { init, mounts, tcpEstablished, fileLocks }: Checkpoint,
  { images, script, leaveRunning }: { images: string; script: string; leaveRunning: boolean },
): string[] {
  const network = statSync(`/proc/${pid}/ns/net`).ino;
  const external = [
    `net[${network}]:${NETWORK_KEY}`,
    ...(init ? [init.executable] : []),
    ...mounts.map(({ key, target }) => `mnt[${target}]:${key}`),
  ];
  return [
    'dump',
    ...['--tree', String(pid), '--root', `/proc/${pid}/root`],
    ...['--images-dir', images, '--work-dir', images, '--log-file', 'dump.log', '-v4'],
    ...['--action-script', script, '--manage-cgroups=ignore', '--network-lock', networkLock(criu)],
    ...external.flatMap((what) => ['--external', what]),
    ...(tcpEstablished ? ['--tcp-established'] : []),
    ...(fileLocks ? ['--file-locks'] : []),
    ...(leaveRunning ? ['--leave-running'] : []),
  ];
}

/** What CRIU said: in its log, or before it had one. */
export function logOf(path: string, stderr: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return stderr;
  }
}
