import type { StandardStreams } from '@ns/launch';
import { ownTurn, rollBack } from '@ns/libc';
import type { NotifierOptions } from '@ns/seccomp';
import { readAccounts } from './container-cgroup.ts';
import { launchContainer } from './container-launch.ts';
import { beginProcess, type ContainerProcess, type Running, refusedProcess } from './container-process.ts';
import { newId } from './design.ts';
import { UserContainerNetwork } from './network/user-container-network.ts';
import { readCall } from './read-call.ts';
import { validateRunOnce } from './recent-specs.ts';
import { startAsBefore } from './recent-starts.ts';
import { acquireResources, needsResources, noResources, type Resources } from './resources.ts';
import type { AsBytes, ContainerSpec, RunOptions } from './types.ts';

/**
 * Runs one command in a container of its own and removes everything afterwards.
 *
 * Without options it works on any machine this library supports: the root is a copy-on-write view of the host's own file
 * system, nothing written survives, there is no network, and the security profile is Docker's default. A non-zero exit is
 * a result, not an exception; `{ check: true }` makes it one. A command that cannot be found ends with 127 and one that
 * cannot be executed with 126, as in a shell.
 *
 * @throws SpecError (as a rejection) `ERR_NS_INVALID_SPEC`: an option is wrong
 * @throws NsError (as a rejection) `ERR_NS_IN_USE`: another container writes where this one shall keep its writes
 * @throws ContainerStartError (as a rejection) `ERR_NS_CONTAINER_START`: a step of the setup failed
 * @throws ProcessFailedError (as a rejection) `ERR_NS_PROCESS_FAILED`: with `check`
 *
 * @example
 * ```ts
 * const { stdout } = await run('uname', ['-n'], { hostname: 'sandbox' });
 * ```
 */
export function run(command: string, args: readonly string[], options: RunOptions & AsBytes): ContainerProcess<Buffer>;
export function run(command: string, args?: readonly string[], options?: RunOptions): ContainerProcess;
export function run(command: string | readonly string[], options: RunOptions & AsBytes): ContainerProcess<Buffer>;
export function run(command: string | readonly string[], options?: RunOptions): ContainerProcess;
export function run(
  command: string | readonly string[],
  second: readonly string[] | RunOptions = [],
  third: RunOptions = {},
): ContainerProcess<string | Buffer> {
  let spec: RunOptions & ContainerSpec;
  try {
    const { argv, options } = readCall(command, second, third);
    spec = validateRunOnce({ ...options, command: argv });
  } catch (error) {
    // A rejection like every other failure of a run; of the options, which may be anything, none is looked at.
    return refusedProcess(error);
  }
  return beginProcess(spec, async (streams) => {
    // Half of what a start holds this thread for is done by now: whatever else is ready gets its turn in between.
    await ownTurn('run');
    return startOnce(spec, streams);
  });
}

/**
 * Starts a container for one command.
 *
 * @param notifier - how system calls are served that the specification's profile notifies of
 */
export function startOnce(
  spec: ContainerSpec,
  streams: StandardStreams,
  notifier?: NotifierOptions,
): Running | Promise<Running> {
  const id = newId();
  const again = notifier ? undefined : startAsBefore(spec, id, streams);
  if (again) return again;
  if (!needsResources(spec)) return startWith(noResources, id, spec, streams, notifier);
  return acquireResources(id, spec).then(async (resources) => {
    try {
      const running = startWith(resources, id, spec, streams, notifier);
      if (resources.network instanceof UserContainerNetwork) await connectAndGo(resources.network, running.launched);
      return running;
    } catch (error) {
      throw await rollBack(error, () => resources[Symbol.asyncDispose]());
    }
  });
}

/** A failed setup tells its reason by itself. */
async function connectAndGo(network: UserContainerNetwork, launched: Running['launched']): Promise<void> {
  try {
    await launched.ready;
  } catch {
    return;
  }
  try {
    await network.connect(launched);
    launched.go();
  } catch (error) {
    launched.kill();
    await launched.exited;
    throw error;
  }
}

function startWith(
  resources: Resources,
  id: string,
  spec: ContainerSpec,
  streams: StandardStreams,
  notifier: NotifierOptions | undefined,
): Running {
  const park = resources.network instanceof UserContainerNetwork;
  const context = { ...resources, id, streams, notifier, park, keepScratch: false };
  const { launched, design } = launchContainer(spec, context);
  return {
    launched,
    warnings: design.warnings,
    async finish(exit) {
      try {
        return await readAccounts(exit, resources.cgroup);
      } finally {
        await resources[Symbol.asyncDispose]();
      }
    },
  };
}
