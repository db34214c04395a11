import type { ContainerNetwork } from './container-network.ts';

/** Networks of the containers of this process, by id of the container. */
export const liveNetworks = new Map<string, ContainerNetwork>();
