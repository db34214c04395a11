import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { UnavailableError } from '@ns/libc';
import { tryFeature } from '../probe/capability.ts';
import { programTrials } from '../probe/programs.ts';

/** CRIU as it is on this machine. */
export interface Criu {
  readonly path: string;
  /** `3.17.1` */
  readonly version: string;
}

/**
 * Looks for CRIU, and lets it say whether it gets on with this kernel.
 *
 * @throws UnavailableError for an ordinary user, without CRIU, and when `criu check` fails
 */
export async function findCriu(): Promise<Criu> {
  if (process.geteuid!() !== 0)
    throw checkpointUnavailable(
      'CRIU stops and rebuilds processes with ptrace, prctl and namespaces of the host, which only root may',
      'Run as root',
    );
  const { ok, detail: path, why = '', fix } = await tryFeature(programTrials.criu);
  if (!ok || path === undefined) throw checkpointUnavailable(why.replace(/\.$/, ''), fix);
  const { stdout } = await promisify(execFile)(path, ['--version']);
  return { path, version: /Version:\s*(\S+)/.exec(stdout)?.[1] ?? '0' };
}

/**
 * How CRIU holds the network still meanwhile: by not looking at it where it lets us say so, for nothing but its own
 * loopback reaches a container that can be checkpointed; else by the program that this library uses, too.
 */
export function networkLock(criu: Criu): 'skip' | 'nftables' {
  return isAtLeast319(criu) ? 'skip' : 'nftables';
}

/** Does it restore no_new_privs of processes that have set it themselves? */
export function keepsNoNewPrivileges(criu: Criu): boolean {
  return isAtLeast319(criu);
}

function isAtLeast319({ version }: Criu): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 3 || (major === 3 && minor >= 19);
}

/** Neither checkpoint nor restore can be had. */
export function checkpointUnavailable(why: string, fix: string | undefined): UnavailableError {
  return new UnavailableError(
    'checkpoint and restore of processes',
    why,
    fix ?? 'probe() says what this machine can do',
  );
}
