import { type ContainerStatus, readStatesInTurns } from './container-state.ts';

/** One line of {@link Container.list}. */
export interface ContainerInfo {
  readonly id: string;
  readonly name: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  readonly status: ContainerStatus;
  /** Of its first process, in the caller's pid namespace; undefined when there is none. */
  readonly pid: number | undefined;
  readonly createdAt: Date;
}

/** Which containers to list: those for which everything given holds. */
export interface ContainerFilter {
  readonly name?: string;
  /** Each with this value. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Or one of several. */
  readonly status?: ContainerStatus | readonly ContainerStatus[];
}

/** Containers of this state root, whoever made them. */
export async function listContainers({ name, labels = {}, status }: ContainerFilter): Promise<ContainerInfo[]> {
  const wanted = Object.entries(labels);
  return (await readStatesInTurns())
    .filter((state) => name === undefined || state.name === name)
    .filter((state) => status === undefined || [status].flat().includes(state.status))
    .filter((state) => wanted.every(([key, value]) => state.labels[key] === value))
    .map(({ id, name, labels, command, status, init, createdAt }) => ({
      id,
      name,
      labels,
      command,
      status,
      pid: status === 'stopped' ? undefined : init?.pid,
      createdAt: new Date(createdAt),
    }));
}
