import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { type CgroupHost, detectCgroups } from '@ns/cgroups';

/** Runs `body` with this process alone in a v2 cgroup, as under systemd with Delegate=yes, or in a container. */
export async function inOwnService(body: (host: CgroupHost, path: string) => Promise<void>): Promise<void> {
  const { mountPoint, ownPath } = detectCgroups().unified!;
  const path = `${mountPoint}/service-${process.pid}`;
  mkdirSync(path);
  try {
    writeFileSync(`${path}/cgroup.procs`, String(process.pid));
    await body(detectCgroups({ fresh: true }), path);
  } finally {
    writeFileSync(`${mountPoint}${ownPath}/cgroup.procs`, String(process.pid));
    detectCgroups({ fresh: true });
    execFileSync('find', [path, '-depth', '-type', 'd', '-delete']);
  }
}
