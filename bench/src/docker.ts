import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Contender, contender, installed } from './contenders.ts';
import { makeBundle } from './oci-bundle.ts';

/** A Docker daemon of our own, with one container that runs, as a contender for `docker exec`. */
export interface Docker {
  readonly contender: Contender;
  /** Ends the daemon and removes what it has made. */
  stop(): Promise<void>;
}

const START_MS = 20_000;

/** Named as what is removed after a benchmark: the daemon leaves it. */
const cgroupParent = `/bench-docker-${process.pid}`;

/** Executes a daemon that keeps sockets in /run and a key in /etc where nobody else sees them. */
const withPrivatePlaces = `
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/etc/upper /run/etc/work
  mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work overlay /etc
  exec "$@"`;

/**
 * Starts a daemon in network and mount namespaces of its own, with directories of its own, so that it meets neither another
 * daemon nor this machine's network.
 *
 * @returns why there is none, where it cannot be
 */
export async function startDocker(): Promise<Docker | string> {
  const [daemonProgram, client] = [installed('dockerd'), installed('docker')];
  if (!daemonProgram || !client) return 'docker exec: dockerd is not installed';
  const directory = mkdtempSync(join(tmpdir(), 'ns-bench-docker-'));
  const host = `unix://${join(directory, 'docker.sock')}`;
  const docker = (...args: string[]) =>
    execFileSync(client, ['--host', host, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  const daemon = spawn(
    'unshare',
    [
      ...['--net', '--mount', 'sh', '-ec', withPrivatePlaces, 'sh', daemonProgram, '--host', host],
      ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')],
      ...['--pidfile', join(directory, 'pid'), '--bridge', 'none', '--iptables=false', '--ip6tables=false'],
      ...['--cgroup-parent', cgroupParent],
    ],
    { stdio: ['ignore', 'ignore', 'ignore'] },
  );
  const stop = async () => {
    await ended(daemon);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await answers(daemon, () => docker('version'));
    const archive = join(directory, 'root.tar');
    execFileSync('tar', ['-C', join(makeBundle('pause'), 'rootfs'), '-cf', archive, '.']);
    docker('import', archive, 'bench');
    const id = docker('run', '--detach', '--network', 'none', 'bench', '/bin/pause');
    const exec = contender('docker exec', [client, '--host', host, 'exec', id, '/bin/true']);
    return {
      contender: exec,
      async stop() {
        docker('rm', '--force', id);
        await stop();
      },
    };
  } catch (error) {
    await stop();
    return `docker exec: the daemon did not start (${String(error).split('\n')[0]})`;
  }
}

async function answers(daemon: ChildProcess, ask: () => string): Promise<void> {
  const until = performance.now() + START_MS;
  for (;;) {
    try {
      ask();
      return;
    } catch (error) {
      if (daemon.exitCode !== null || performance.now() > until) throw error;
    }
    await sleep(200);
  }
}

async function ended(daemon: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => daemon.once('exit', resolve));
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  daemon.kill('SIGTERM');
  await exited;
}
