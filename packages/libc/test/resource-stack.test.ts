import { AsyncResourceStack, ResourceStack } from '../src/index.ts';

/** Says when it is released, and fails where it is told to. */
function releaseOf(name: string, released: string[], error?: Error): () => void {
  return () => {
    released.push(name);
    if (error) throw error;
  };
}

const busy = new Error('busy');
const gone = new Error('gone');

type Hold = (release: () => void) => void;
const atOnce = () => {
  const stack = new ResourceStack();
  const use: Hold = (release) => stack.use({ [Symbol.dispose]: release });
  const defer: Hold = (release) => stack.defer(release);
  return { use, defer, release: () => stack.release(), dispose: async () => stack[Symbol.dispose]() };
};
const awaited = (disposable: (release: () => void) => AsyncDisposable | Disposable) => () => {
  const stack = new AsyncResourceStack();
  const use: Hold = (release) => stack.use(disposable(release));
  const defer: Hold = (release) => stack.defer(async () => release());
  return { use, defer, release: () => stack.release(), dispose: () => stack[Symbol.asyncDispose]() };
};

describe.each([
  ['at once', atOnce],
  ['awaited', awaited((release) => ({ [Symbol.asyncDispose]: async () => release() }))],
  ['awaited, where some are released at once', awaited((release) => ({ [Symbol.dispose]: release }))],
])('%s', (_, make) => {
  const filled = (errors: Readonly<Record<string, Error>>) => {
    const released: string[] = [];
    const { use, defer, release, dispose } = make();
    use(releaseOf('first', released, errors.first));
    defer(releaseOf('second', released, errors.second));
    use(releaseOf('third', released, errors.third));
    return { released, release, dispose };
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

  test('not those of work that succeeded', async () => {
    const { released, release, dispose } = filled({});
    release();
    await dispose();
    expect(released).toEqual([]);
  });

  test('all errors are told', async () => {
    await expect(filled({ third: busy, first: gone }).dispose()).rejects.toMatchObject({ errors: [busy, gone] });
  });
});
