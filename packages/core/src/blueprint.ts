import { Explanation, explain } from '@ns/launch';
import { ResourceStack } from '@ns/libc';
import type { IdLease } from '@ns/namespaces';
import { designContainer } from './design.ts';
import { readHost } from './host.ts';
import { type ContainerDesign, containerPlan } from './plan/container-plan.ts';
import type { ContainerSpec } from './types.ts';

/** The design of a container that is not to be started now: to look at, or to join one that runs. */
export function drawDesign(
  id: string,
  spec: ContainerSpec,
  ids: IdLease | undefined,
  fds: Record<string, number> = {},
): ContainerDesign {
  // What a design opens is for a start: names and kinds are all that stays.
  using owner = new ResourceStack();
  return designContainer(spec, {
    id,
    park: true,
    scratch: { reuse: false, covered: false, handOver: true },
    nullFds: [],
    pipeFds: [0, 1, 2],
    cgroupProcs: [],
    cgroupFd: false,
    leftovers: { files: [], directories: [], parents: [] },
    journal: false,
    ids,
    owner,
    fds,
  });
}

/** The plan of a container: the steps, their system calls, and why. */
export function explainSpec(id: string, spec: ContainerSpec): Explanation {
  const fds: Record<string, number> = {};
  const design = drawDesign(id, spec, undefined, fds);
  const { steps } = explain(containerPlan(design, readHost()), { extra: 0, named: Object.keys(fds) });
  return new Explanation(
    steps,
    design.warnings.map(({ message }) => message),
  );
}
