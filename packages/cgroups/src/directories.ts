import type { CgroupDirectory } from './directory.ts';
import type { Controller, Hierarchy } from './host.ts';

/** The directories of one cgroup: one on v2, one per tree in use on v1 and hybrid hosts. */
export class Directories implements Disposable {
  #all: readonly CgroupDirectory[];
  #byController: ReadonlyMap<Controller, CgroupDirectory>;
  /** The one in the v2 tree. */
  readonly unified: CgroupDirectory | undefined;

  constructor(all: readonly CgroupDirectory[]) {
    this.#all = all;
    this.unified = all.find((directory) => directory.hierarchy.version === 2);
    this.#byController = directoryByController(all);
  }

  get all(): readonly CgroupDirectory[] {
    return this.#all;
  }

  /** One in another tree. */
  add(directory: CgroupDirectory): void {
    this.#all = [...this.#all, directory];
    this.refresh();
  }

  /** Looks again which controllers there are, after more were handed down. */
  refresh(): void {
    this.#byController = directoryByController(this.all);
  }

  /** Where a controller's files are, when the cgroup is in its tree. */
  of(controller: Controller): CgroupDirectory | undefined {
    return this.#byController.get(controller);
  }

  in(hierarchy: Hierarchy): CgroupDirectory | undefined {
    return this.all.find((directory) => directory.hierarchy === hierarchy);
  }

  /** The one that says which processes are in the cgroup: every process that joined is in all of them. */
  get control(): CgroupDirectory {
    return this.unified ?? this.of('freezer') ?? this.all[0]!;
  }

  get closed(): boolean {
    return this.control.closed;
  }

  [Symbol.dispose](): void {
    for (const directory of this.all) directory[Symbol.dispose]();
  }
}

function directoryByController(all: readonly CgroupDirectory[]): ReadonlyMap<Controller, CgroupDirectory> {
  return new Map(all.flatMap((directory) => [...directory.controllers].map((name) => [name, directory])));
}
