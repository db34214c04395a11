import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '@ns/core';
import { compile, profiles } from '@ns/seccomp';
import { buildDirectory, buildProgram } from './c-programs.ts';
import { makeBundle } from './oci-bundle.ts';
import { type Measured, TimedCommand } from './timed-command.ts';

/** Somebody who can start `true` in a container. */
export interface Contender extends Disposable {
  readonly name: string;
  measure(runs: number, parallel?: number): Promise<Measured>;
}

/** The library: from the call to the settled result, in Node. */
export const library: Contender = {
  name: 'run()',
  async measure(runs, parallel = 1) {
    const runsMs: number[] = [];
    const begin = performance.now();
    let started = 0;
    const worker = async () => {
      while (started < runs) {
        started++;
        const before = performance.now();
        const { exitCode } = await run('/bin/true');
        if (exitCode !== 0) throw new Error(`/bin/true ended with ${exitCode}`);
        runsMs.push(performance.now() - before);
      }
    };
    await Promise.all(Array.from({ length: parallel }, worker));
    return { runsMs, totalMs: performance.now() - begin };
  },
  [Symbol.dispose]() {},
};

/** The same container made by a C program: bench/c/floor.c. */
export function floor(): Contender {
  return contender('C floor', floorCommand(['/bin/true']));
}

/** The command line of the floor. */
export function floorCommand(command: readonly string[]): string[] {
  mkdirSync(buildDirectory, { recursive: true });
  const filter = join(buildDirectory, 'filter.bpf');
  writeFileSync(filter, compile(profiles.default, { capabilities: dockerCapabilities() }));
  return [buildProgram('floor', ['-static']), filter, ...otherMounts(), '--', ...command];
}

/** The peers that are installed. crun and runc do with a cgroup, which the others have not. */
export function peers(): Contender[] {
  const found: Contender[] = [];
  const bwrap = installed('bwrap');
  if (bwrap) {
    found.push(
      contender('bwrap', [
        bwrap,
        ...['--unshare-all', '--die-with-parent', '--new-session', '--as-pid-1', '--hostname', 'bench'],
        ...['--cap-drop', 'ALL', '--ro-bind', '/', '/', '--tmpfs', '/root', '--tmpfs', '/home', '--tmpfs', '/run'],
        ...['--proc', '/proc', '--dev', '/dev', '--mqueue', '/dev/mqueue', '/bin/true'],
      ]),
    );
  }
  for (const name of ['crun', 'runc']) {
    const program = installed(name);
    if (!program) continue;
    const bundle = makeBundle();
    found.push(
      contender(name, [program, 'run', '--bundle', bundle, `bench-${name}-${process.pid}-%d`], crunObstacle()),
    );
  }
  return found;
}

/** What installed peers say their version is. */
export function peerVersions(): Record<string, string> {
  return Object.fromEntries(
    ['bwrap', 'crun', 'runc', 'dockerd', 'nsenter'].flatMap((name) => {
      const program = installed(name);
      return program ? [[name, execFileSync(program, ['--version'], { encoding: 'utf8' }).split('\n')[0]!]] : [];
    }),
  );
}

/** A command line as a contender. */
export function contender(name: string, command: readonly string[], options: { hideFile?: string } = {}): Contender {
  const timed = new TimedCommand(command, options);
  return {
    name,
    measure: (runs, parallel) => timed.measure(runs, parallel),
    [Symbol.dispose]: () => timed[Symbol.dispose](),
  };
}

/** Where a program is, if it is anywhere on the PATH. */
export function installed(name: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(':')
    .map((directory) => join(directory, name))
    .find((path) => existsSync(path));
}

// crun 1.8.1 takes a hybrid layout for a broken one when the unified hierarchy has a controller (hugetlb) of its own.
const UNIFIED_CONTROLLERS = '/sys/fs/cgroup/unified/cgroup.controllers';

/** What has to be hidden from crun for it to work here. */
export function crunObstacle(): { hideFile?: string } {
  return existsSync(UNIFIED_CONTROLLERS) ? { hideFile: UNIFIED_CONTROLLERS } : {};
}

function dockerCapabilities(): string[] {
  return (
    'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL ' +
    'AUDIT_WRITE'
  )
    .split(' ')
    .map((name) => `CAP_${name}`);
}

/** Read-only file systems besides the root, which a view of the host shows too. */
function otherMounts(): string[] {
  const data = new Set(['ext4', 'xfs', 'btrfs', 'tmpfs', 'overlay', 'squashfs', 'erofs']);
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const [target = '/', options = ''] = before.split(' ').slice(4, 6);
      const elsewhere = /^\/(?:$|(?:proc|sys|dev|run|root|home|boot)(?:\/|$))/.test(target);
      return !elsewhere && data.has(after.split(' ')[0]!) && options.split(',').includes('ro') ? [target] : [];
    });
}
