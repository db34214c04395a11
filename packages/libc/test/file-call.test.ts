import { mkdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { fileCall, SpecError, SyscallError } from '../src/index.ts';

const refused = async (call: () => unknown): Promise<unknown> => {
  try {
    return await call();
  } catch (error) {
    return error;
  }
};

for (const [kind, make] of [
  ['at once', (path: string) => fileCall(path, () => mkdirSync(path))],
  ['later', (path: string) => fileCall(path, () => mkdir(path))],
] as const) {
  test(`what fails ${kind} does so in our errors`, async () => {
    const path = '/no/such/directory';
    const error = await refused(() => make(path));
    expect(error).toBeInstanceOf(SyscallError);
    expect(error).toMatchObject({ code: 'ENOENT', errno: -2, syscall: 'mkdir', path, hint: expect.any(String) });
    expect((error as Error).cause).toMatchObject({ code: 'ENOENT' });
    const nul = await refused(() => make('/a\0b'));
    expect(nul).toBeInstanceOf(SpecError);
    expect(nul).toMatchObject({ field: 'path', received: '/a\0b' });
  });
}

test('what succeeds is returned, and what else is thrown stays what it is', async () => {
  expect(fileCall('/', () => 7)).toBe(7);
  expect(await fileCall('/', async () => 7)).toBe(7);
  for (const error of [new Error('mine'), new SpecError('a', 'b', 'c'), new SyscallError('open', 2)])
    expect(await refused(() => fileCall('/', () => Promise.reject(error)))).toBe(error);
});
