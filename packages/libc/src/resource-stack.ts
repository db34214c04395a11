/** Resources released together, last acquired first: what `DisposableStack` is where the engine has it. */
export class ResourceStack implements Disposable {
  #resources: Disposable[] = [];

  /** Takes ownership; returns the resource. */
  use<T extends Disposable>(resource: T): T {
    this.#resources.push(resource);
    return resource;
  }

  /** Registers an action. */
  defer(release: () => void): void {
    this.#resources.push({ [Symbol.dispose]: release });
  }

  /** Gives up ownership of everything: the work succeeded. */
  release(): void {
    this.#resources = [];
  }

  [Symbol.dispose](): void {
    const errors: unknown[] = [];
    for (const resource of this.#resources.splice(0).reverse()) {
      try {
        resource[Symbol.dispose]();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, 'several resources could not be released');
  }
}
