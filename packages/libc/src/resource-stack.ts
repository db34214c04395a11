import { SeveralErrors } from './errors.ts';

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
    throwAll(errors);
  }
}

/** The same of resources whose release may have to be waited for: one after another, the others also where one fails. */
export class AsyncResourceStack implements AsyncDisposable {
  #resources: (AsyncDisposable | Disposable)[] = [];

  /** Takes ownership, if there is something to own; returns it. */
  use<T extends AsyncDisposable | Disposable | undefined>(resource: T): T {
    if (resource) this.#resources.push(resource);
    return resource;
  }

  /** Registers an action. */
  defer(release: () => PromiseLike<unknown> | undefined): void {
    this.#resources.push({ [Symbol.asyncDispose]: async () => void (await release()) });
  }

  /** Gives up ownership of everything: the work succeeded. */
  release(): void {
    this.#resources = [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const errors: unknown[] = [];
    for (const resource of this.#resources.splice(0).reverse()) {
      try {
        if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
        else resource[Symbol.dispose]();
      } catch (error) {
        errors.push(error);
      }
    }
    throwAll(errors);
  }
}

function throwAll(errors: readonly unknown[]): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new SeveralErrors(errors, 'several resources could not be released');
}
