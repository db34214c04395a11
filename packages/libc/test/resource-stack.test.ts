import { AsyncResourceStack, ResourceStack } from '../src/index.ts';

/** Says when it is released, and fails where it is told to. */
function resource(name: string, released: string[], error?: Error): Disposable & AsyncDisposable {
  const release = () => {
    released.push(name);
    if (error) throw error;
  };
  return { [Symbol.dispose]: release, [Symbol.asyncDispose]: async () => release() };
}

const busy = new Error('busy');
const gone = new Error('gone');

type Use = (resource: Disposable & AsyncDisposable) => unknown;
const atOnce = () => {
  const stack = new ResourceStack();
  return { use: ((resource) => stack.use(resource)) as Use, dispose: async () => stack[Symbol.dispose]() };
};
const awaited = () => {
  const stack = new AsyncResourceStack();
  return { use: ((resource) => stack.use(resource)) as Use, dispose: () => stack[Symbol.asyncDispose]() };
};

describe.each([
  ['at once', atOnce],
  ['awaited', awaited],
])('%s', (_, make) => {
  const filled = (errors: Readonly<Record<string, Error>>) => {
    const released: string[] = [];
    const { use, dispose } = make();
    for (const name of ['first', 'second', 'third']) use(resource(name, released, errors[name]));
    return { released, dispose };
  };

  test('last acquired first, once', async () => {
    const { released, dispose: release } = filled({});
    await release();
    await release();
    expect(released).toEqual(['third', 'second', 'first']);
  });

  test('the others also where one fails', async () => {
    const { released, dispose: release } = filled({ third: busy });
    await expect(release()).rejects.toBe(busy);
    expect(released).toEqual(['third', 'second', 'first']);
  });

  test('all errors are told', async () => {
    await expect(filled({ third: busy, first: gone }).dispose()).rejects.toMatchObject({ errors: [busy, gone] });
  });
});
