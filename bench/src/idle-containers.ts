import { execFileSync } from 'node:child_process';
import { type Contender, contender, crunObstacle, installed } from './contenders.ts';
import { type Docker, startDocker } from './docker.ts';
import { makeBundle } from './oci-bundle.ts';

/** Peers that can execute a command in a container that runs already; each has such a container until it is disposed of. */
export async function execPeers(): Promise<{ peers: Contender[]; docker: Docker | string }> {
  const peers: Contender[] = [];
  try {
    for (const name of ['crun', 'runc']) {
      const program = installed(name);
      if (program) peers.push(ociPeer(name, program));
    }
    const docker = await startDocker();
    if (typeof docker !== 'string') peers.push(docker.contender);
    return { peers, docker };
  } catch (error) {
    for (const peer of peers) peer[Symbol.dispose]();
    throw error;
  }
}

function ociPeer(name: string, program: string): Contender {
  const id = `bench-exec-${name}-${process.pid}`;
  const command = (...args: string[]) => {
    const { hideFile } = crunObstacle();
    const hide = hideFile === undefined ? ':' : `mount --bind /dev/null ${hideFile}`;
    const script = `${hide} && exec "$0" "$@"`;
    // A container that outlives the command has its streams too: there must be none of ours among them.
    execFileSync('unshare', ['--mount', 'sh', '-c', script, program, ...args], {
      stdio: 'ignore',
    });
  };
  command('run', '--detach', '--bundle', makeBundle('pause'), id);
  const exec = contender(`${name} exec`, [program, 'exec', id, '/bin/true'], crunObstacle());
  return {
    ...exec,
    [Symbol.dispose]() {
      exec[Symbol.dispose]();
      command('delete', '--force', id);
    },
  };
}
