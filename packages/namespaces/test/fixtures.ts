import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readlinkSync } from 'node:fs';

/** A process in namespaces of its own, made by unshare(1); it ends with the test. */
export interface Elsewhere extends AsyncDisposable {
  /** Of the process inside. */
  readonly pid: number;
  readonly process: ChildProcess;
}

/** Starts a sleeping process through `unshare(1)` with these flags; with `--fork` it is unshare's child. */
export async function elsewhere(...flags: string[]): Promise<Elsewhere> {
  const forks = flags.includes('--fork');
  const all = [...flags, ...(forks ? ['--kill-child'] : []), '--', 'sh', '-c', 'echo ready; exec sleep 60'];
  const child = spawn('unshare', all, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [text] = (await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data')])) as [Buffer];
  if (!text.toString().startsWith('ready')) throw new Error(`unshare: ${text}`);
  return {
    pid: forks ? onlyChild(child.pid!) : child.pid!,
    process: child,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'close');
    },
  };
}

function onlyChild(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1'));
}

/** What the kernel calls a namespace of a process. */
export const kernelName = (pid: number | 'self' | 'thread-self', kind: string): string =>
  readlinkSync(`/proc/${pid}/ns/${kind}`);
