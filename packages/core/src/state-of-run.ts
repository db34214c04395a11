import { identifyProcess } from '@ns/libc';
import type { ContainerState, StateChanges } from './container-state.ts';
import { userNetworks } from './network/live-networks.ts';
import type { Result } from './result.ts';
import type { RunHandle } from './run-handle.ts';

/** What is written down of the processes of a run and of what belongs to them. */
export function stateOfRun(id: string, run: RunHandle | undefined, isAlive: boolean) {
  const launched = isAlive ? run?.launched : undefined;
  const userNetwork = launched && userNetworks.get(id);
  const connecting = userNetwork?.pid;
  return {
    monitor: identify(launched?.monitorPid),
    init: identify(launched?.pid),
    ...(connecting && { userNetwork: identify(connecting), userPorts: userNetwork?.ports }),
    ids: run?.ids && { uids: run.ids.uids, gids: run.ids.gids },
    cgroup: launched && run!.cgroup?.name,
  } satisfies StateChanges;
}

const identify = (pid: number | undefined) => (pid === undefined ? undefined : identifyProcess(pid));

/** What is written down of the end of a run, unless nobody knows how it ended. */
export function endingOf({ stdout: _, stderr: __, truncated: ___, ...ending }: Result): ContainerState['ending'] {
  return ending.exitCode === null && ending.signal === null ? undefined : ending;
}
